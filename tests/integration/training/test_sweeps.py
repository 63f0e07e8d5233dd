"""A sweep: several epsilons priced, reserved and queued together, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from jobs.models import Job
from privacyhub.assessment import sweep_results
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.services import the_ledger
from privacyhub.governance import ledger
from privacyhub.governance.grants import give
from privacyhub.governance.models import Reservation
from privacyhub.training import recipes, services, sweeps
from privacyhub.training.models import Model, Sweep, TrainingRun

REASON = "to show what privacy costs"
BODY = {"classes": ["no", "yes"], "metrics_epsilon": "0.5"}


@pytest.fixture
def quoted(register_version: Any) -> Callable[..., Any]:
    """The recipes of a sweep over these epsilons."""

    def make(*epsilons: str, with_bare: bool = False, **asked: Any) -> list[Any]:
        recipe = recipes.build(
            version=register_version,
            request=BODY | asked,
            by=register_version.created_by,
        )
        return sweeps.recipes_of(recipe=recipe, epsilons=epsilons, with_bare=with_bare)

    return make


def test_sweep_costs_more_than_its_largest_run_and_less_than_the_sum(
    register_version: Any, quoted: Callable[..., Any]
) -> None:
    quote = sweeps.price(version=register_version, recipes=quoted("0.5", "1"))
    assert Decimal(1) < Decimal(quote.together) < Decimal("1.5")
    # Two histograms of pure epsilon 0.5 on the same held-out units.
    assert Decimal("0.5") < Decimal(quote.metrics_together) <= Decimal(1)
    alone = max(run.uses for run in quote.runs)
    assert alone < quote.uses
    account = the_ledger(register_version)
    prices = [price for plan in quote.plans for price in plan.prices]
    assert quote.uses == ledger.cost_in_cap(account, prices)
    assert quote.fits


def test_run_without_privacy_leaves_out_what_needs_privacy(
    quoted: Callable[..., Any],
) -> None:
    settings = {"clip_quantile": 0.5, "hidden": [4]}
    private, bare = quoted("1", with_bare=True, settings=settings)
    assert private.settings == settings
    assert bare.settings == {"hidden": [4]}


def test_sweep_makes_versions_and_shows_what_each_reached(
    register_version: Any,
    steward: Any,
    analyst: Any,
    quoted: Callable[..., Any],
    quick_engine: Any,
    run_jobs: Callable[[], None],
    client_for: Callable[[Any], Any],
) -> None:
    sweep = sweeps.submit(
        version=register_version,
        recipes=quoted("1", "0.5", with_bare=True, metrics_epsilon="2"),
        by=steward,
        name="Readmission",
        reason=REASON,
    )
    page = reverse("web:sweep", args=[sweep.pk])
    waiting = client_for(steward).get(page).content.decode()
    assert "every 2s" in waiting
    assert "first point appears" in waiting
    run_jobs()
    told = sweep_results.results(sweep=sweep, user=steward)
    assert [one.epsilon for one in told] == ["0.5", "1", ""]
    assert all(one.state == "succeeded" for one in told)
    assert all(one.released and one.exact for one in told)
    # The model without privacy is one of its own: a share of the other leaves it out.
    assert {one.version.model_id for one in told[:2]} == {sweep.model_id}
    assert told[2].version.model.name == "Readmission, without privacy"
    seen = client_for(steward).get(page).content.decode()
    assert "every 2s" not in seen
    assert "not covered by the guarantee" in seen
    for one in told:
        assert reverse("web:model_version", args=[one.version.pk]) in seen
    assert client_for(analyst).get(page).status_code == 404
    give(target=sweep.model, user=analyst, right="view", by=steward)
    shared = client_for(analyst).get(page).content.decode()
    assert "Exact" not in shared
    assert "without privacy" not in shared
    assert [one.exact for one in sweep_results.results(sweep=sweep, user=analyst)] == [
        None,
        None,
    ]


def test_sweep_that_does_not_fit_reserves_nothing(
    register_version: Any, steward: Any, quoted: Callable[..., Any]
) -> None:
    with pytest.raises(ledger.BudgetRefused):
        sweeps.submit(
            version=register_version,
            recipes=quoted("0.5", "1", metrics_epsilon="6"),
            by=steward,
            name="Readmission",
        )
    assert not Reservation.objects.exists()
    assert not Job.objects.filter(kind__in=["train", "assess"]).exists()
    assert not TrainingRun.objects.exists()
    assert not Sweep.objects.exists()
    assert not Model.objects.exists()


def test_sweep_submitted_twice_is_made_once(
    register_version: Any, steward: Any, quoted: Callable[..., Any]
) -> None:
    wanted = uuid4()
    made = {
        sweeps.submit(
            version=register_version,
            recipes=quoted("0.5", "1"),
            by=steward,
            name="Readmission",
            sweep_id=wanted,
        ).pk
        for _ in range(2)
    }
    assert made == {wanted}
    assert TrainingRun.objects.count() == 2
    assert Reservation.objects.count() == 4


def test_run_submitted_twice_is_made_once(register_version: Any, steward: Any) -> None:
    wanted = uuid4()
    recipe = recipes.build(
        version=register_version, request=BODY, by=register_version.created_by
    )
    for _ in range(2):
        run = services.submit(
            version=register_version,
            recipe=recipe,
            by=steward,
            name="Readmission",
            run_id=wanted,
        )
        assert run.pk == wanted
    assert Reservation.objects.count() == 2


def test_epsilons_are_read_as_they_are_written() -> None:
    assert sweeps.epsilons_of("2 0.5;1, 1.0") == ("0.5", "1.0", "2")
    for written, hint in (("2,5", "not a comma"), ("1 many", "must be a number")):
        with pytest.raises(DataError, match=hint):
            sweeps.epsilons_of(written)


def test_wizard_queues_a_sweep_once(
    register_version: Any, steward: Any, client_for: Callable[[Any], Any]
) -> None:
    client = client_for(steward)
    base = reverse("web:train", args=[register_version.pk])
    client.post(f"{base}?step=1", {"features": ["sex", "creatinine"]})
    client.post(
        f"{base}?step=2",
        {"target": "readmitted", "classes": "no\nyes", "name": "Readmission"},
    )
    asked = {"privacy": "dp", "epsilon": "0.5 1", "metrics_epsilon": "0.5"}
    price = reverse("web:train_price", args=[register_version.pk])
    told = client.post(price, asked).content.decode()
    assert "charged by composition" in told
    assert "73.1 of 100" in told
    assert client.post(f"{base}?step=3", asked).url == f"{base}?step=4"
    review = client.get(f"{base}?step=4")
    assert "Train 2 models" in review.content.decode()
    sent = {"submission": str(review.context["submission"])}
    first = client.post(f"{base}?step=4", sent)
    second = client.post(f"{base}?step=4", sent)
    sweep = Sweep.objects.get()
    assert first.url == second.url == reverse("web:sweep", args=[sweep.pk])
    assert sweep.runs.count() == 2


def test_sweep_over_rest(
    register_version: Any,
    steward: Any,
    analyst: Any,
    api_for: Callable[[Any], Any],
    quick_engine: Any,
    run_jobs: Callable[[], None],
) -> None:
    api = api_for(steward)
    body = BODY | {"version": str(register_version.pk), "epsilons": ["1", "0.5"]}
    body["metrics_epsilon"] = "2"  # at 0.5 noise may leave nothing of so few rows
    price = api.post(reverse("api:sweep_price"), body).json()
    assert [run["epsilon"] for run in price["runs"]] == ["0.5", "1"]
    assert price["fits"] is True
    headers = {"HTTP_IDEMPOTENCY_KEY": "once"}
    answer = api.post(reverse("api:sweeps"), body, **headers)
    assert answer.status_code == 202
    told = answer.json()
    assert api.post(reverse("api:sweeps"), body, **headers).json() == told
    assert len(told["jobs"]) == 2
    assert answer.headers["Location"] == told["url"]
    run_jobs()
    found = api.get(told["url"]).json()
    assert found["measure"] == "auc"
    assert [run["epsilon"] for run in found["runs"]] == ["0.5", "1"]
    assert all(0 < run["released"]["value"] < 1 for run in found["runs"])
    assert api.get(reverse("api:sweeps")).json()["results"][0]["id"] == told["sweep"]
    assert api_for(analyst).get(told["url"]).status_code == 404


def test_sweep_refusals_are_problems(
    register_version: Any, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    api = api_for(steward)
    base = BODY | {"version": str(register_version.pk)}
    for more, status, code in (
        ({"epsilons": ["1"]}, 400, "epsilon"),
        ({"epsilons": [str(k) for k in range(1, 11)]}, 400, "epsilon"),
        ({"epsilons": ["1", "0"]}, 400, "epsilon"),
        ({"epsilons": ["1"], "with_bare": True}, 400, "no_reason"),
        ({"epsilons": ["0.5", "1"], "metrics_epsilon": "6"}, 409, "over_cap"),
    ):
        answer = api.post(reverse("api:sweeps"), base | more)
        assert (answer.status_code, answer.json()["code"]) == (status, code), more
    assert not Reservation.objects.exists()
