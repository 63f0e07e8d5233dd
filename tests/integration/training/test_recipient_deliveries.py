"""A recipient's cap binds where results reach them: at a share and at an order."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from privacyhub.assessment import (
    evaluation,
    group_evaluation,
    report_ledgers,
    reports,
)
from privacyhub.datasets import services as datasets
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp.rdp import add_vectors
from privacyhub.governance import grants, ledger
from privacyhub.governance.models import (
    EntryKind,
    Grant,
    Ledger,
    LedgerEntry,
    RecipientCap,
    Reservation,
)
from privacyhub.governance.sums import BOTH, load
from privacyhub.governance.verification import verify
from privacyhub.training import services, sweeps
from privacyhub.training.models import Model, TrainingRun


@pytest.fixture(autouse=True)
def _heads(settings: Any, tmp_path: Path) -> None:
    """What others exported before is no concern of this hub's trail."""
    settings.AUDIT_HEADS_DIR = tmp_path / "heads"


@pytest.fixture
def account(register_version: Any) -> Ledger:
    return the_ledger(register_version)


@pytest.fixture
def cap(account: Ledger, steward: Any, analyst: Any) -> Callable[[str], RecipientCap]:
    """Cap the analyst at this epsilon on the ledger, whose own cap is 8."""

    def make(epsilon: str) -> RecipientCap:
        return ledger.set_recipient_cap(
            ledger=account, recipient="analyst", epsilon_cap=epsilon, by=steward
        )

    return make


@pytest.fixture
def share(steward: Any, analyst: Any) -> Callable[[Model], Grant]:
    def make(model: Model) -> Grant:
        return services.share(model=model, user=analyst, right="use", by=steward)

    return make


def charged(*jobs: Any, side: str) -> tuple[int, ...]:
    total: tuple[int, ...] = ()
    for held in Reservation.objects.filter(run_id__in=[job.pk for job in jobs]):
        if held.part in {"all", side}:
            vector = load(held.charged)
            total = add_vectors(total, vector) if total else vector
    return total


def spent_by(cap: RecipientCap) -> dict[str, tuple[int, ...]]:
    cap.refresh_from_db()
    return {side: load(getattr(cap, f"spent_{side}")) for side in BOTH}


def holds_nothing(cap: RecipientCap) -> bool:
    cap.refresh_from_db()
    return not any(load(cap.reserved_train)) and not any(load(cap.reserved_heldout))


def intact() -> bool:
    told = verify()
    assert told.holds, told.problems
    return told.holds


def everything() -> list[Any]:
    """Rows that a refusal leaves as they are; its own line is on record."""
    models = (Ledger, RecipientCap, Reservation, Grant, TrainingRun)
    lines = LedgerEntry.objects.exclude(kind=EntryKind.REFUSED)
    return [
        *(list(model.objects.order_by("pk").values()) for model in models),
        list(lines.order_by("pk").values()),
    ]


def test_share_is_refused_where_the_users_cap_does_not_hold_the_model(
    model_version: Any,
    account: Ledger,
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    cap("0.1")
    before = everything()
    with pytest.raises(ledger.RecipientCapRefused) as refused:
        share(model_version.model)
    assert refused.value.code == "recipient_cap"
    assert "The cap for analyst on “Register” would be passed" in str(refused.value)
    assert "Of the cap of 0.1, 0.0000 is spent" in str(refused.value)
    assert everything() == before
    assert account.entries.filter(kind=EntryKind.REFUSED).count() == 1
    assert intact()


def test_share_counts_what_training_and_metrics_were_charged_once(
    model_version: Any,
    account: Ledger,
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    own, run = cap("6"), model_version.run
    paid = {"train": run.job, "heldout": run.assess_job}
    of_ledger = Ledger.objects.values().get()
    given = share(model_version.model)
    told = {side: charged(job, side=side) for side, job in paid.items()}
    assert all(any(vector) for vector in told.values())
    assert spent_by(own) == told
    grants.revoke(grant=given, by=run.owner)
    share(model_version.model)
    assert spent_by(own) == told
    assert Ledger.objects.values().get() == of_ledger
    lines = account.entries.filter(kind=EntryKind.SHARED, recipient="analyst")
    assert lines.count() == 2
    assert intact()


def test_cap_that_is_set_after_the_share_counts_it(
    model_version: Any,
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    share(model_version.model)
    own = cap("6")
    assert spent_by(own)["train"] == charged(model_version.run.job, side="train")
    assert intact()


def test_share_while_the_run_waits_holds_what_it_will_spend(
    quick_engine: Any,
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    own, run = cap("6"), submit()
    share(run.model)
    own.refresh_from_db()
    assert any(load(own.reserved_train))
    assert any(load(own.reserved_heldout))
    assert not any(load(own.spent_train))
    assert intact()
    run_jobs()
    assert spent_by(own) == {
        "train": charged(run.job, side="train"),
        "heldout": charged(run.assess_job, side="heldout"),
    }
    assert holds_nothing(own)
    assert intact()


def test_share_while_the_run_waits_is_refused_where_it_would_not_fit(
    quick_engine: Any,
    submit: Callable[..., Any],
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    cap("0.1")
    with pytest.raises(ledger.RecipientCapRefused):
        share(submit().model)
    assert not Grant.objects.exists()


def test_run_that_failed_is_not_counted(
    model_version: Any,
    quick_engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    run_jobs: Callable[[], None],
    register_version: Any,
    steward: Any,
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    def broken(done: int) -> None:
        raise MemoryError

    monkeypatch.setattr(quick_engine, "after_block", broken)
    lost = services.retrain(run=model_version.run, by=steward, version=register_version)
    run_jobs()
    assert any(charged(lost.job, side="train"))
    own = cap("6")
    share(model_version.model)
    assert spent_by(own)["train"] == charged(model_version.run.job, side="train")
    assert intact()


def test_retrain_of_a_shared_model_counts_for_who_has_it(
    model_version: Any,
    register_version: Any,
    steward: Any,
    run_jobs: Callable[[], None],
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    own = cap("6")
    given, first = share(model_version.model), model_version.run
    fresh = services.retrain(run=first, by=steward, version=register_version)
    own.refresh_from_db()
    assert any(load(own.reserved_train))
    grants.revoke(grant=given, by=steward)
    run_jobs()
    assert spent_by(own) == {
        "train": charged(first.job, fresh.job, side="train"),
        "heldout": charged(first.assess_job, fresh.assess_job, side="heldout"),
    }
    assert holds_nothing(own)
    third = services.retrain(run=first, by=steward, version=register_version)
    assert holds_nothing(own)
    assert third.job.state == "queued"
    assert intact()


def _orders(run: TrainingRun, version: Any, by: Any) -> dict[str, Callable[[], Any]]:
    recipe = services.recipe_of(run)
    made = run.model_version  # type: ignore[attr-defined]
    several = sweeps.recipes_of(recipe=recipe, epsilons=["0.3", "0.5"], with_bare=False)
    more = {"version": version, "by": by, "name": "", "model": run.model}
    return {
        "train": lambda: services.submit(recipe=recipe, **more),
        "retrain": lambda: services.retrain(run=run, by=by, version=version),
        "sweep": lambda: sweeps.submit(recipes=several, **more),
        "assess": lambda: evaluation.submit(model_version=made, by=by, epsilon="0.9"),
        "assess groups": lambda: group_evaluation.submit(
            model_version=made, by=by, column="sex", epsilon="0.9"
        ),
    }


@pytest.mark.parametrize(
    "which", ["train", "retrain", "sweep", "assess", "assess groups"]
)
def test_order_for_a_shared_model_is_refused_where_a_users_cap_does_not_hold_it(
    which: str,
    model_version: Any,
    register_version: Any,
    steward: Any,
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    own = cap("6")
    groups = {"sex": {"categories": ["female", "male"]}}
    datasets.set_columns(version=register_version, changes=groups, by=steward)
    given = share(model_version.model)
    cap(str(ledger.balance(own.ledger, of=RecipientCap.objects.get()).spent))
    order = _orders(model_version.run, register_version, steward)[which]
    before = everything()
    with pytest.raises(ledger.RecipientCapRefused, match="The cap for analyst"):
        order()
    assert everything() == before
    grants.revoke(grant=given, by=steward)
    order()
    assert intact()


def test_another_assessment_counts_for_who_has_the_model(
    model_version: Any,
    steward: Any,
    run_jobs: Callable[[], None],
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    own = cap("6")
    early = evaluation.submit(model_version=model_version, by=steward, epsilon="0.2")
    run_jobs()
    share(model_version.model)
    late = evaluation.submit(model_version=model_version, by=steward, epsilon="0.3")
    run_jobs()
    jobs = (model_version.run.assess_job, early, late)
    assert spent_by(own)["heldout"] == charged(*jobs, side="heldout")
    assert intact()


def test_steward_who_ordered_the_run_is_not_counted_twice(
    model_version: Any, account: Ledger, steward: Any, other_steward: Any
) -> None:
    own = ledger.set_recipient_cap(
        ledger=account, recipient="steward", epsilon_cap="7", by=steward
    )
    before = spent_by(own)
    assert any(before["train"])
    jobs = [model_version.run.job_id, model_version.run.assess_job_id]
    ledger.deliver(run_ids=jobs, recipient="steward", by=steward)
    assert spent_by(own) == before
    assert intact()


def test_report_counts_the_metrics_that_it_tells(
    model_version: Any,
    account: Ledger,
    steward: Any,
    analyst: Any,
    run_jobs: Callable[[], None],
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    own, run = cap("6"), model_version.run
    report = reports.create(by=steward, model_version=model_version)
    evaluation.submit(model_version=model_version, by=steward, epsilon="0.2")
    run_jobs()
    reports.share(report=report, user=analyst, by=steward)
    metrics = charged(run.assess_job, side="heldout")
    assert spent_by(own)["heldout"] == metrics
    assert not any(spent_by(own)["train"])
    share(model_version.model)
    told = report_ledgers.per_recipient([account], by=steward).rows
    balance = ledger.balance(account, of=RecipientCap.objects.get())
    assert [row[1] for row in told] == ["analyst", "steward"]
    assert Decimal(told[0][2]) == balance.spent
    assert intact()


def test_report_is_not_shared_where_the_users_cap_does_not_hold_its_metrics(
    model_version: Any,
    steward: Any,
    analyst: Any,
    cap: Callable[[str], RecipientCap],
) -> None:
    cap("0.1")
    report = reports.create(by=steward, model_version=model_version)
    before = everything()
    with pytest.raises(ledger.RecipientCapRefused):
        reports.share(report=report, user=analyst, by=steward)
    assert everything() == before


@pytest.mark.parametrize("change", [["other"], []])
def test_audience_that_was_changed_beside_the_lines_is_told(
    change: list[str], model_version: Any, share: Callable[[Model], Grant]
) -> None:
    share(model_version.model)
    Reservation.objects.update(audience=change)
    assert "reservation for training" in " ".join(verify().problems)


def test_pages_and_rest_refuse_the_share_in_plain_words(
    model_version: Any,
    analyst: Any,
    steward: Any,
    client_for: Callable[[Any], Any],
    api_for: Callable[[Any], Any],
    cap: Callable[[str], RecipientCap],
) -> None:
    cap("0.1")
    model = model_version.model_id
    asked = {"user": "analyst", "right": "use"}
    path = reverse("api:model_share", args=[model])
    for extra in ({}, {"HTTP_IDEMPOTENCY_KEY": "once"}):
        answer = api_for(steward).post(path, asked, format="json", **extra)
        assert (answer.status_code, answer.json()["code"]) == (409, "recipient_cap")
        assert "The cap for analyst" in answer.json()["title"]
    form = {"user": analyst.pk, "right": "use"}
    page = client_for(steward).post(
        reverse("web:model_share", args=[model]), form, follow=True
    )
    assert "The cap for analyst on “Register” would be passed" in page.content.decode()
    assert not Grant.objects.exists()


def test_price_of_a_retrain_names_whose_cap_refuses_it(
    model_version: Any,
    steward: Any,
    client_for: Callable[[Any], Any],
    cap: Callable[[str], RecipientCap],
    share: Callable[[Model], Grant],
) -> None:
    share(model_version.model)
    fits = services.price_of_retrain(run=model_version.run, recipient="steward")
    assert (fits.fits, fits.refused_for) == (True, "")
    cap("0.5")
    told = services.price_of_retrain(run=model_version.run, recipient="steward")
    assert (told.fits, told.refused_for, told.runs_that_fit) == (False, "analyst", 0)
    path = reverse("web:model_retrain", args=[model_version.pk])
    page = client_for(steward).get(path)
    assert b"The cap for analyst would be passed" in page.content


def test_pages_and_rest_tell_what_was_shared_as_spent(
    model_version: Any,
    analyst: Any,
    account: Ledger,
    steward: Any,
    client_for: Callable[[Any], Any],
    api_for: Callable[[Any], Any],
    cap: Callable[[str], RecipientCap],
) -> None:
    own = cap("6")
    path = reverse("web:model_share", args=[model_version.model_id])
    client = client_for(steward)
    page = client.post(path, {"user": analyst.pk, "right": "use"}, follow=True)
    assert b"Shared with analyst" in page.content
    account.refresh_from_db()
    own.refresh_from_db()
    spent = ledger.balance(account, of=own).spent
    assert spent > 0
    told = api_for(steward).get(reverse("api:recipient_caps", args=[account.pk]))
    (row,) = told.json()
    assert row["balance"]["spent"] == str(spent)
    lines = reverse("api:ledger_entries", args=[account.pk])
    shared = api_for(steward).get(lines, {"kind": "shared"}).json()["results"]
    assert [line["recipient"] for line in shared] == ["analyst", "analyst"]
    text = client.get(reverse("web:ledger", args=[account.pk])).content.decode()
    assert "Shared: training" in text
    of_analyst = text.split('data-label="Recipient">analyst</th>')[1].split("</tr>")[0]
    assert f"{spent:.2f}"[:3] in of_analyst
