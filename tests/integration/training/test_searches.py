"""A search over settings: priced first, charged whole, and the best trial leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs import execution, reaping
from jobs.models import Job
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.events import SelectionEvent, compose, event_from_dict
from privacyhub.engines.dp.tuning import SearchState
from privacyhub.governance.models import EntryKind, Reservation
from privacyhub.training import artefacts, tuning
from privacyhub.training import services as training

RUN = Callable[[], None]
SEARCH = {"space": {"learning_rate": [0.01, 0.3], "hidden": [[], [8]]}}


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def three_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The draw is random: here it is three, so that no test depends on luck."""
    monkeypatch.setattr(
        "jobs.tasks.train_search.engine.begin_search", lambda **_: SearchState(drawn=3)
    )


def charges(account: Any, job: Job) -> list[Any]:
    lines = account.entries.filter(run_id=job.pk, kind=EntryKind.CHARGE).order_by("id")
    return [event_from_dict(line.event) for line in lines]


def test_search_is_charged_whole_and_its_best_trial_is_published(
    submit: Callable[..., Any],
    run_jobs: RUN,
    register_version: Any,
    quick_engine: Any,
    three_trials: None,
) -> None:
    run = submit(tuning=SEARCH)
    plan = training.plan_of(run)
    run_jobs()
    run.job.refresh_from_db()
    run.assess_job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.assess_job.state == "succeeded", run.assess_job.trace
    assert quick_engine.steps_run == 3 * plan.spec.steps
    events = charges(the_ledger(register_version), run.job)
    assert [type(event) for event in events].count(SelectionEvent) == 1
    held = Reservation.objects.get(run_id=run.job_id)
    assert held.charged == held.vector
    told = run.model_version.guarantee
    delta = float(told["delta"]) - told["additive_delta"]
    whole = accounting.epsilon(compose(events), delta=delta)
    assert told["epsilon_accounted"] == pytest.approx(whole, rel=1e-9)
    assert told["epsilon_accounted"] <= 1
    assert told["accountant"] == "RDP"
    assert told["search"]["mean_trials"] == tuning.DEFAULT_TRIALS
    model = artefacts.load(run.model_version)
    assert model.spec.learning_rate in {0.01, 0.3}
    assert model.spec.hidden in {(), (8,)}
    assert "drawn" not in str(told)


def test_search_needs_more_noise_than_one_run_of_the_same_price(
    submit: Callable[..., Any], quick_engine: Any
) -> None:
    single, searched = submit(), submit(tuning=SEARCH)
    noise = [
        training.plan_of(run).training.noise_multiplier for run in (single, searched)
    ]
    assert noise[1] > 1.2 * noise[0]
    assert training.plan_of(searched).epsilon_accounted <= 1


def test_lost_worker_costs_a_search_one_trial_and_no_second_charge(
    submit: Callable[..., Any],
    run_jobs: RUN,
    register_version: Any,
    quick_engine: Any,
    three_trials: None,
) -> None:
    run = submit(tuning=SEARCH)
    steps = training.plan_of(run).spec.steps

    def stop(done: int) -> None:
        if done > steps:  # in the second trial
            raise Killed

    quick_engine.after_block = stop
    with pytest.raises(Killed):
        execution.execute(str(run.job_id))
    quick_engine.after_block = lambda done: None
    ran = quick_engine.steps_run
    past = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=run.job_id).update(lease_until=past)
    reaping.reap()
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert quick_engine.steps_run - ran == steps  # the third trial alone
    events = charges(the_ledger(register_version), run.job)
    assert [type(event) for event in events].count(SelectionEvent) == 1


def test_search_that_a_second_reading_would_leave_unpaid_is_not_read_again(
    submit: Callable[..., Any],
    run_jobs: RUN,
    register_version: Any,
    quick_engine: Any,
    three_trials: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = submit(tuning=SEARCH)
    assert training.plan_of(run).statistics is not None

    def lost(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as first:
        first.setattr("jobs.tasks.train.read_side", lost)
        with pytest.raises(Killed):
            execution.execute(str(run.job_id))
    past = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=run.job_id).update(lease_until=past)
    reaping.reap()
    run_jobs()
    run.job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "worker_lost")
    assert "Train again" in run.job.message
    (event,) = charges(the_ledger(register_version), run.job)
    assert event == training.plan_of(run).statistics


def test_how_many_trials_have_begun_is_not_told(
    submit: Callable[..., Any],
    run_jobs: RUN,
    quick_engine: Any,
    three_trials: None,
    steward: Any,
    client: Any,
    api_for: Callable[[Any], Any],
) -> None:
    searched, alone = submit(tuning=SEARCH), submit()
    client.force_login(steward)
    pages: list[str] = []

    def look(done: int) -> None:
        job = Job.objects.get(state="running")
        pages.append(client.get(f"/jobs/{job.pk}/").content.decode())

    quick_engine.after_block = look
    run_jobs()
    steps = training.plan_of(searched).spec.steps
    blocks = len(pages) // 4  # of each of three trials, then of the run alone
    assert quick_engine.steps_run == 4 * steps
    assert not any("Checkpoint" in page for page in pages[: 3 * blocks])
    assert "Checkpoint" in pages[-1]
    searched.job.refresh_from_db()
    assert searched.job.saved_to == 3
    api = api_for(steward)
    told = [
        api.get(f"/api/v1/jobs/{run.job_id}/").json()["saved_to"]
        for run in (searched, alone)
    ]
    assert told[0] is None
    assert told[1] > 0


def test_search_without_a_trial_fails_and_returns_nothing(
    submit: Callable[..., Any],
    run_jobs: RUN,
    quick_engine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "jobs.tasks.train_search.engine.begin_search", lambda **_: SearchState(drawn=0)
    )
    run = submit(tuning=SEARCH)
    run_jobs()
    run.job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "no_trial")
    held = Reservation.objects.get(run_id=run.job_id)
    assert held.charged == held.vector


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"space": {"epochs": [1, 2]}}, "cannot be searched"),
        ({"space": {}}, "at least one setting"),
        ({"space": {"clip_norm": [-1]}}, "clip norm"),
        ({"space": {"clip_norm": [1, 1e-25]}}, "clip norm lies between"),
        ({"space": {"clip_norm": []}}, "list"),
        ({"space": {"learning_rate": [1, 10**400]}}, "learning_rate"),
        ({"space": {"class_weights": [[1, 10**400]]}}, "class_weights"),
        (SEARCH | {"mean_trials": 10**400}, "number"),
        (SEARCH | {"mean_trials": 1}, "above 1"),
        (SEARCH | {"mean_trials": "many"}, "number"),
        (SEARCH | {"trials": "fixed"}, "poisson"),
        (SEARCH | {"seed": 1}, "no part"),
    ],
)
def test_search_that_cannot_be_is_refused_before_anything_is_charged(
    search: Any, message: str, submit: Callable[..., Any]
) -> None:
    with pytest.raises(DataError, match=message):
        submit(tuning=search)
    assert not Reservation.objects.exists()


def test_a_search_may_adapt_the_clip_norm_at_the_same_price(
    submit: Callable[..., Any], run_jobs: RUN, three_trials: None
) -> None:
    adaptive = submit(tuning={"space": {"clip_quantile": [0.3, 0.7]}})
    run_jobs()
    adaptive.job.refresh_from_db()
    assert adaptive.job.state == "succeeded", adaptive.job.trace
    fixed = submit(tuning={"space": {"clip_norm": [1, 2]}})
    prices = [training.plan_of(run).training_price for run in (adaptive, fixed)]
    assert prices[0] == prices[1]
    (made,) = adaptive.model.versions.all()
    assert made.guarantee["clip_quantile"] in (0.3, 0.7)


def test_search_over_rest_shows_its_price_first(
    steward: Any, api_for: Callable[[Any], Any], register_version: Any
) -> None:
    api = api_for(steward)
    body = {"version": str(register_version.pk), "tuning": SEARCH, "epsilon": "2"}
    told = api.post("/api/v1/trainings/price/", body, format="json")
    assert told.status_code == 200, told.json()
    event = told.json()["prices"][0]["event"]
    kinds = [part["kind"] for part in event["events"]]
    assert "selection" in kinds
    accepted = api.post("/api/v1/trainings/", body, format="json")
    assert accepted.status_code == 202
    wrong = body | {"tuning": {"space": {"epochs": [1]}}}
    refused = api.post("/api/v1/trainings/price/", wrong, format="json")
    assert (refused.status_code, refused.json()["code"]) == (400, "tuning")
