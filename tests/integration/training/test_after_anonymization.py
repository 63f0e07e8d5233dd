"""A training that is ordered on a release before the release is there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from jobs import services as jobs
from jobs.models import Job
from jobs.states import State
from privacyhub.anonymization import awaited
from privacyhub.anonymization import services as anonymization
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.models import Role
from privacyhub.engines.dp.guarantee import TRAINED_ON_ANONYMIZED
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.governance.models import AuditEvent, EntryKind, Reservation
from privacyhub.training import recipes
from privacyhub.training import services as training
from privacyhub.training.models import Model, TrainingDraft, TrainingRun
from privacyhub.training.sources import Source

RUN = Callable[[], None]
QUASI = ("birth_date", "zip", "sex", "occupation")
CLASSES = {"classes": ["no", "yes"]}


@pytest.fixture
def policy(register_version: Any) -> dict[str, Any]:
    """4-anonymity over the register's quasi-identifiers; the rest stays as it is."""
    changes = {
        column.name: {
            "role": Role.QUASI_IDENTIFIER if column.name in QUASI else Role.INSENSITIVE
        }
        for column in register_version.columns.all()
        if column.role != Role.IDENTIFIER or column.name in QUASI
    }
    datasets.set_columns(
        version=register_version, changes=changes, by=register_version.created_by
    )
    return {
        "quasi_identifiers": {name: {"hierarchy": "automatic"} for name in QUASI},
        "models": [{"name": "k_anonymity", "k": 4}],
        "suppression_limit": 0.05,
    }


@pytest.fixture
def anonymize(register_version: Any, policy: Any, steward: Any) -> Callable[..., Any]:
    """Queue an anonymization of the register; keyword arguments go to the service."""

    def make(**more: Any) -> AnonymizationRun:
        asked = {"version": register_version, "policy": policy, "by": steward} | more
        return anonymization.submit(**asked)

    return make


@pytest.fixture
def train_after(register_version: Any, steward: Any) -> Callable[..., TrainingRun]:
    """Order a training on a run's release; keyword arguments go into the recipe."""

    def make(run: AnonymizationRun, **asked: Any) -> TrainingRun:
        recipe = recipes.build(
            version=register_version, after=run, request=CLASSES | asked, by=steward
        )
        return training.submit(
            version=register_version,
            after=run,
            recipe=recipe,
            by=steward,
            name="Readmission",
        )

    return make


def require_nothing_held(account: Any) -> None:
    """Neither side has paid or reserved anything."""
    account.refresh_from_db()
    for sums in (
        account.spent_train,
        account.spent_heldout,
        account.reserved_train,
        account.reserved_heldout,
    ):
        assert set(sums) == {"0"}


def require_ended_for_free(run: TrainingRun, *, code: str) -> None:
    """The training failed with this code, and what it had reserved is free."""
    run.job.refresh_from_db()
    run.assess_job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", code), run.job.trace
    assert (run.assess_job.state, run.assess_job.error_code) == ("failed", "dependency")
    held = Reservation.objects.filter(run_id__in=[run.job_id, run.assess_job_id])
    assert [one.state for one in held] == ["released", "released"]
    require_nothing_held(held[0].ledger)


def test_chain_of_three_is_ordered_before_its_first_job_runs(
    register_version: Any,
    policy: Any,
    steward: Any,
    api_for: Any,
    run_jobs: RUN,
    quick_engine: Any,
) -> None:
    api = api_for(steward)
    first = api.post(
        reverse("api:anonymizations"),
        {"version": str(register_version.pk), "policy": policy},
    ).json()
    asked = {"after": first["run"], **CLASSES}
    price = api.post(reverse("api:training_price"), asked).json()
    assert price["fits"] is True
    answer = api.post(reverse("api:trainings"), asked)
    assert answer.status_code == 202, answer.content
    told = answer.json()
    where = reverse("api:training", args=[told["training"]])
    waiting = api.get(where).json()
    assert (waiting["version"], waiting["after"]) == (None, first["run"])
    chain = [first["job"], told["job"], told["assess_job"]]
    ordered = [api.get(reverse("api:job", args=[pk])).json() for pk in chain]
    assert [job["state"] for job in ordered] == ["queued"] * 3
    assert [job["depends_on"] for job in ordered] == [None, *chain[:2]]
    held = Reservation.objects.filter(run_id__in=chain)
    assert {one.state for one in held} == {"reserved"}
    run_jobs()
    ended = [Job.objects.get(pk=pk) for pk in chain]
    assert [job.state for job in ended] == ["succeeded"] * 3, [j.trace for j in ended]
    assert ended[0].finished_at < ended[1].started_at  # type: ignore[operator]
    assert ended[1].finished_at < ended[2].started_at  # type: ignore[operator]
    release = api.get(reverse("api:anonymization", args=[first["run"]])).json()[
        "release"
    ]
    trained = api.get(where).json()
    assert trained["version"] == release
    assert trained["model_version"] == ended[1].result["model_version"]
    run = TrainingRun.objects.get(pk=told["training"])
    assert TRAINED_ON_ANONYMIZED in run.model_version.guarantee["not_covered"]
    assert run.model_version.assessments.count() == 1
    inputs = {column["name"]: column for column in run.model_version.summary["inputs"]}
    assert inputs["birth_date"]["kind"] == "category"  # a date, until it was recoded
    assert {one.state for one in held.all()} == {"settled"}
    given = AuditEvent.objects.get(action="training.get_release")
    assert given.detail["version"] == release
    listed = api.get(reverse("api:trainings"), {"after": first["run"]}).json()
    assert [one["id"] for one in listed["results"]] == [told["training"]]


def test_pages_lead_from_a_run_at_work_to_the_model(
    anonymize: Any,
    steward: Any,
    client_for: Any,
    run_jobs: RUN,
    quick_engine: Any,
) -> None:
    run = anonymize()
    client = client_for(steward)
    wizard = reverse("web:train_after", args=[run.pk])
    for name, pk in (("web:anonymization", run.pk), ("web:job", run.job_id)):
        assert wizard in client.get(reverse(name, args=[pk])).content.decode()
    first = unescape(client.get(wizard).content.decode())
    assert "still being made" in first
    assert "changed by the anonymization" in first
    assert 'value="zip"' in first
    assert 'value="email"' not in first
    features = ["sex", "zip", "creatinine"]
    assert client.post(wizard, {"features": features}).url == f"{wizard}?step=2"
    second = client.get(f"{wizard}?step=2").content.decode()
    assert reverse("web:train_after_target", args=[run.pk]) in second
    target = {"target": "readmitted", "classes": "no\nyes", "name": "Readmission"}
    assert client.post(f"{wizard}?step=2", target).url == f"{wizard}?step=3"
    privacy = {"privacy": "dp", "epsilon": "1", "metrics_epsilon": "0.5"}
    sweep = client.post(f"{wizard}?step=3", privacy | {"epsilon": "0.5 1"})
    assert "version that is there" in sweep.content.decode()
    for part in ("price", "curve"):
        url = reverse(f"web:train_after_{part}", args=[run.pk])
        assert url in client.get(f"{wizard}?step=3").content.decode()
        assert client.post(url, privacy).status_code == 200
    assert client.post(f"{wizard}?step=3", privacy).url == f"{wizard}?step=4"
    review = client.get(f"{wizard}?step=4").content.decode()
    assert "not the people behind the upload" in review
    sent = {"submission": str(uuid.uuid4())}
    answer = client.post(f"{wizard}?step=4", sent)
    made = TrainingRun.objects.get()
    assert answer.url == reverse("web:job", args=[made.job_id])
    assert client.post(f"{wizard}?step=4", sent).url == answer.url
    assert not TrainingDraft.objects.exists()
    page = client.get(answer.url).content.decode()
    where = reverse("web:anonymization", args=[run.pk])
    assert where in page
    assert "trains on the release of that run" in page
    assert "Readmission" in client.get(where).content.decode()
    model = client.get(reverse("web:model", args=[made.model_id])).content.decode()
    assert "waits for the release" in model
    run_jobs()
    made.refresh_from_db()
    run.refresh_from_db()
    assert made.version == run.release
    assert made.job.state == made.assess_job.state == "succeeded", made.job.trace
    assert wizard not in client.get(where).content.decode()
    assert str(run.release) in client.get(wizard).content.decode()


def test_wizard_keeps_its_answers_when_the_release_comes_meanwhile(
    anonymize: Any, steward: Any, client_for: Any, run_jobs: RUN, quick_engine: Any
) -> None:
    run = anonymize()
    client = client_for(steward)
    wizard = reverse("web:train_after", args=[run.pk])
    client.post(wizard, {"features": ["sex", "creatinine"]})
    run_jobs()
    target = {"target": "readmitted", "classes": "no\nyes", "name": "Readmission"}
    assert client.post(f"{wizard}?step=2", target).url == f"{wizard}?step=3"
    privacy = {"privacy": "dp", "epsilon": "1", "metrics_epsilon": "0.5"}
    client.post(f"{wizard}?step=3", privacy)
    client.post(f"{wizard}?step=4")
    made = TrainingRun.objects.get()
    run.refresh_from_db()
    assert (made.version, made.job.depends_on) == (run.release, None)


def test_drafts_of_a_version_and_of_its_release_are_apart(
    register_version: Any, anonymize: Any, train_after: Any, steward: Any
) -> None:
    run = anonymize()
    sources = [Source(version=register_version, after=after) for after in (None, run)]
    kept = [{"features": ["sex"]}, {"features": ["zip"]}]
    for source, answers in zip(sources, kept, strict=True):
        training.keep_draft(source=source, by=steward, answers=answers)
    told = [training.draft_of(source=source, by=steward) for source in sources]
    assert told == kept
    train_after(run)
    told = [training.draft_of(source=source, by=steward) for source in sources]
    assert told == [kept[0], {}]


def test_cancelled_anonymization_ends_the_training_for_free(
    anonymize: Any, train_after: Any, steward: Any, run_jobs: RUN, client_for: Any
) -> None:
    run = anonymize()
    made = train_after(run)
    jobs.request_cancel(job=run.job, by=steward)
    require_ended_for_free(made, code="dependency")
    with pytest.raises(Conflict) as refused:
        training.again(job=made.job, by=steward)
    assert refused.value.code == "no_release"
    run_jobs()
    assert not hasattr(made, "model_version")
    page = client_for(steward).get(reverse("web:model", args=[made.model_id]))
    assert "waits for" not in page.content.decode()


def test_failed_anonymization_ends_the_training_for_free(
    anonymize: Any, train_after: Any, register_version: Any, run_jobs: RUN
) -> None:
    run = anonymize()
    made = train_after(run)
    # A quasi-identifier that the policy does not name: the run may not go on.
    register_version.columns.filter(name="sodium").update(role=Role.QUASI_IDENTIFIER)
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "failed"
    require_ended_for_free(made, code="dependency")


def test_held_release_ends_the_training_for_free(
    anonymize: Any, train_after: Any, run_jobs: RUN
) -> None:
    first, second = anonymize(), anonymize()
    made = train_after(second)  # until the first releases, nothing holds the second
    run_jobs()
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.release is not None
    assert second.release is None
    require_ended_for_free(made, code="no_version")
    assert "holds its release back" in made.job.message


def test_column_that_does_not_come_ends_the_training_for_free(
    anonymize: Any, train_after: Any, register_version: Any, run_jobs: RUN
) -> None:
    run = anonymize()
    made = train_after(run, features=["creatinine", "sex"])
    register_version.columns.filter(name="creatinine").update(role=Role.IDENTIFIER)
    run_jobs()
    run.refresh_from_db()
    assert run.release is not None
    require_ended_for_free(made, code="column_vanished")


def test_run_without_a_release_to_come_is_refused(
    anonymize: Any,
    train_after: Any,
    steward: Any,
    client_for: Any,
    run_jobs: RUN,
    quick_engine: Any,
) -> None:
    cancelled, running = anonymize(), anonymize()
    jobs.request_cancel(job=cancelled.job, by=steward)
    Job.objects.filter(pk=running.job_id).update(state=State.RUNNING)
    jobs.request_cancel(job=running.job, by=steward)
    only_plan = anonymize(only_plan=True)
    client = client_for(steward)

    def require_refused(run: AnonymizationRun, words: str) -> None:
        run = AnonymizationRun.objects.get(pk=run.pk)
        with pytest.raises(Conflict, match=words) as refused:
            train_after(run)
        assert (refused.value.code, refused.value.status) == ("no_release", 409)
        wizard = reverse("web:train_after", args=[run.pk])
        told = client.get(wizard, follow=True)
        assert told.redirect_chain[0][0] == reverse("web:anonymization", args=[run.pk])
        assert words in unescape(told.content.decode())
        assert wizard not in told.content.decode()

    require_refused(cancelled, "ended without a release")
    require_refused(running, "asked to stop")
    require_refused(only_plan, "only tells the joint risk")
    run_jobs()
    require_refused(only_plan, "holds its release back")
    released = anonymize()
    run_jobs()
    require_refused(anonymize(), "will be held")
    assert not TrainingRun.objects.exists()
    assert not Reservation.objects.exists()
    released.refresh_from_db()
    confirmed = anonymize(confirm_joint=True)
    assert train_after(confirmed).job.depends_on == confirmed.job


def test_run_that_has_released_is_its_release(
    anonymize: Any, train_after: Any, run_jobs: RUN, quick_engine: Any
) -> None:
    run = anonymize()
    run_jobs()
    run.refresh_from_db()
    made = train_after(run)
    assert (made.version, made.job.depends_on) == (run.release, None)
    assert made.job.spec["version"] == str(run.release_id)
    run_jobs()
    made.job.refresh_from_db()
    assert made.job.state == "succeeded", made.job.trace


@pytest.mark.parametrize("end", ["released", "cancelled"])
def test_run_that_ends_while_the_training_is_priced(
    end: str,
    anonymize: Any,
    train_after: Any,
    steward: Any,
    run_jobs: RUN,
    register_version: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the first look at the run, before its job is locked."""
    run = anonymize()
    priced = training.plans.plan_for

    def end_meanwhile(**asked: Any) -> Any:
        if end == "released":
            run_jobs()
        else:
            jobs.request_cancel(job=Job.objects.get(pk=run.job_id), by=steward)
        return priced(**asked)

    monkeypatch.setattr(training.plans, "plan_for", end_meanwhile)
    if end == "released":
        made = train_after(run)
        run.refresh_from_db()
        assert (made.version, made.job.depends_on) == (run.release, None)
        return
    with pytest.raises(Conflict, match="ended without a release"):
        train_after(run)
    assert not Model.objects.exists()
    require_nothing_held(datasets.the_ledger(register_version))


def test_order_wakes_a_worker_for_the_run_that_it_had_locked(
    anonymize: Any,
    train_after: Any,
    django_capture_on_commit_callbacks: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = anonymize()
    sent: list[str] = []

    def send(*, job_id: str, queue: str) -> bool:
        sent.append(job_id)
        return True

    monkeypatch.setattr("jobs.messages.send", send)
    with django_capture_on_commit_callbacks(execute=True):
        train_after(run)
    assert sent == [str(run.job_id)]


def test_two_trainings_wait_for_one_run(
    anonymize: Any, train_after: Any, run_jobs: RUN, quick_engine: Any
) -> None:
    run = anonymize()
    made = [train_after(run), train_after(run, target="hba1c", classes=[])]
    assert [one.job.depends_on for one in made] == [run.job, run.job]
    run_jobs()
    run.refresh_from_db()
    for one in made:
        one.refresh_from_db()
        assert one.version == run.release
        assert one.job.state == one.assess_job.state == "succeeded", one.job.trace


def test_training_that_was_cancelled_meanwhile_runs_again(
    anonymize: Any, train_after: Any, steward: Any, run_jobs: RUN, quick_engine: Any
) -> None:
    run = anonymize()
    made = train_after(run)
    jobs.request_cancel(job=made.job, by=steward)
    made.job.refresh_from_db()
    while_waiting = training.again(job=made.job, by=steward)
    assert while_waiting.depends_on == run.job
    run_jobs()
    run.refresh_from_db()
    made.refresh_from_db()
    assert made.job.state == "cancelled"
    assert made.version == run.release
    released = training.again(job=made.job, by=steward)
    assert released.training_run.version == run.release
    run_jobs()
    for job in (while_waiting, released):
        job.refresh_from_db()
        assert job.state == "succeeded", job.trace


def test_budget_is_refused_when_it_is_ordered(
    anonymize: Any, train_after: Any, register_version: Any
) -> None:
    run = anonymize()
    with pytest.raises(BudgetRefused):
        train_after(run, epsilon="40")
    assert not TrainingRun.objects.exists()
    assert not Reservation.objects.exists()
    account = datasets.the_ledger(register_version)
    assert account.entries.first().kind == EntryKind.REFUSED
    train_after(run, epsilon="5")
    with pytest.raises(BudgetRefused):  # what waits holds its budget
        train_after(run, epsilon="5")
    assert TrainingRun.objects.count() == 1


def test_reach_of_an_order_is_that_of_its_run(
    anonymize: Any,
    register_version: Any,
    api_for: Any,
    client_for: Any,
    steward: Any,
    other_steward: Any,
    analyst: Any,
    auditor: Any,
) -> None:
    run = anonymize()
    body = {"after": str(run.pk), **CLASSES}
    routes = [reverse("api:trainings"), reverse("api:training_price")]
    wizard = reverse("web:train_after", args=[run.pk])
    for user, status in ((other_steward, 404), (analyst, 404), (auditor, 403)):
        for route in routes:
            assert api_for(user).post(route, body).status_code == status
        assert client_for(user).get(wizard).status_code == status
    api = api_for(steward)
    missing = api.post(routes[0], body | {"after": str(uuid.uuid4())})
    assert missing.status_code == 404
    both = body | {"version": str(register_version.pk)}
    for wrong in (both, dict(CLASSES)):
        for route in routes:
            assert api.post(route, wrong).status_code == 400
    sweep = api.post(reverse("api:sweeps"), body | {"epsilons": ["0.5", "1"]})
    assert sweep.status_code == 400
    assert "version" in sweep.json()["errors"]
    assert not TrainingRun.objects.exists()


def test_columns_are_known_before_as_they_come(
    register_version: Any, policy: Any, anonymize: Any, run_jobs: RUN
) -> None:
    datasets.set_columns(
        version=register_version,
        changes={
            "sex": {"categories": ["female", "male"]},
            "creatinine": {"lower": 0.0, "upper": 20.0},
            "hba1c": {"lower": 3.0, "upper": 15.0},
            "sodium": {"lower": 100.0, "upper": 180.0},
            "diagnosis": {"categories": ["stroke", "asthma"]},
        },
        by=register_version.created_by,
    )
    treatments: dict[str, Any] = {
        "name": {"name": "pseudonym"},
        "email": {"name": "mask", "side": "right", "characters": 3},
        "diagnosis": {"name": "mask", "side": "right", "characters": 1},
        "hemoglobin": {"name": "drop"},
        "creatinine": {"name": "add_noise", "share": 0.2},
        "hba1c": {"name": "round_to", "step": 0.5},
        "sodium": {"name": "code_extremes", "bottom": 130.5, "top": 150},
        "length_of_stay": {"name": "microaggregate", "k": 5, "aggregate": "interval"},
        "prior_admissions": {"name": "microaggregate", "k": 5, "aggregate": "mean"},
        "systolic_bp": {"name": "zip_text"},
    }
    run = anonymize(policy=policy | {"treatments": treatments})
    before = awaited.columns_of(run)
    run_jobs()
    run.refresh_from_db()
    assert run.release is not None, run.job.trace or run.job.message
    kinds = {"integer": "number"}  # a treated number may turn out to be whole
    same = ("name", "role", "is_target", "is_unit_key", "lower", "upper", "categories")

    def told(column: Any) -> Any:
        kind = kinds.get(column.kind, column.kind)
        return [kind, *(getattr(column, field) for field in same)]

    assert [told(c) for c in before] == [told(c) for c in run.release.columns.all()]
    own = {column.name for column in before if column.version_id is not None}
    assert own.isdisjoint({*treatments, *QUASI})
    after = {column.name: column for column in run.release.columns.all()}
    assert (after["sodium"].lower, after["sodium"].upper) == (100.0, 180.0)
    for name in ("sex", "creatinine", "hba1c", "diagnosis"):  # no longer true of them
        declared = (after[name].lower, after[name].upper, after[name].categories)
        assert declared == (None, None, None), name


def test_classes_of_a_recoded_target_are_declared(
    anonymize: Any, train_after: Any
) -> None:
    run = anonymize()
    with pytest.raises(Conflict) as refused:
        train_after(run, target="sex", classes=[])
    assert refused.value.code == "classes"
    with pytest.raises(Conflict, match="no column “email”"):
        train_after(run, features=["email"])
    made = train_after(run, target="sex", classes=["female", "male"])
    assert json.loads(json.dumps(made.recipe.spec))["classes_declared"] is True


def test_units_of_a_key_are_refused_at_once(
    register_version: Any, anonymize: Any, train_after: Any, run_jobs: RUN
) -> None:
    run = anonymize()
    account = datasets.the_ledger(register_version)
    account.unit, account.unit_key = "key", "record_number"
    account.save(update_fields=["unit", "unit_key"])
    with pytest.raises(Conflict) as refused:
        train_after(run)
    assert refused.value.code == "unit_key"
