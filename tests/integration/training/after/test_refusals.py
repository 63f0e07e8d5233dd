"""Orders on a run that releases nothing, ends meanwhile, or costs too much."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from jobs import services as jobs
from jobs.models import Job
from jobs.states import State
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.governance.models import EntryKind, Reservation
from privacyhub.training import services as training
from privacyhub.training.models import Model, TrainingRun

from .checks import require_nothing_held

RUN = Callable[[], None]


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
