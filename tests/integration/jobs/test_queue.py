"""The life of a job's row: claimed once, fenced, reaped, cancelled, published."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs import execution, messages, reaping, registry, services, workers
from jobs.models import Job, Worker
from jobs.states import JobFailed, NotRepeatable, StaleAttempt, State, TooManyJobs
from privacyhub.engines.dp.events import GaussianEvent
from privacyhub.governance import ledger
from privacyhub.governance.models import AuditEvent, EntryKind, Part

Submit = Callable[..., Job]


def _expire(job: Job) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Job.objects.filter(pk=job.pk).update(lease_until=past)


def _state(job: Job) -> str:
    job.refresh_from_db()
    return job.state


def test_claim_is_won_once(submit: Submit) -> None:
    job = submit()
    won = [services.claim(job_id=job.pk, worker=f"worker {n}") for n in range(5)]
    assert [bool(claimed) for claimed in won] == [True, False, False, False, False]
    assert won[0] is not None
    assert won[0].attempt == 1


def test_execute_does_the_job_and_a_second_message_does_nothing(submit: Submit) -> None:
    job = submit()
    for _ in range(10):
        execution.execute(str(job.pk))
    assert _state(job) == State.SUCCEEDED
    assert job.attempt == 1
    assert AuditEvent.objects.filter(action="job.succeeded").count() == 1


def test_a_stale_attempt_cannot_write(running: Job) -> None:
    _expire(running)
    reaping.reap()
    second = services.claim(job_id=running.pk, worker="two")
    assert second is not None
    for write in (
        lambda: services.beat(job=running),
        lambda: services.report(job=running, stage="late", done=1, total=2),
        lambda: services.finish(job=running, publish=lambda: {"late": True}),
        lambda: services.fail(job=running, code="late", message="late"),
        lambda: services.end_cancelled(job=running),
        lambda: services.held(job=running).__enter__(),
    ):
        with pytest.raises(StaleAttempt):
            write()
    services.finish(job=second, publish=lambda: {"of": "the second"})
    assert _state(running) == State.SUCCEEDED
    assert running.result == {"of": "the second"}


def test_reap_queues_again_and_gives_up_after_three(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(messages, "send", lambda **told: bool(sent.append(str(told))))
    job = submit()
    for lost in (1, 2, 3):
        assert services.claim(job_id=job.pk, worker=f"worker {lost}")
        _expire(job)
        sent.clear()
        reaping.reap()
        job.refresh_from_db()
        assert job.workers_lost == lost
        assert bool(sent) == (lost < 3)
    assert (job.state, job.error_code) == (State.FAILED, "poison")
    reaping.reap()
    assert _state(job) == State.FAILED


def test_reap_leaves_a_live_lease_alone(running: Job) -> None:
    reaping.reap()
    assert _state(running) == State.RUNNING
    assert running.attempt == 1


def test_reap_sends_a_lost_message_again(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def send(**told: Any) -> bool:
        sent.append(told["job_id"])
        return True

    monkeypatch.setattr(messages, "send", send)
    job = submit()  # a test's transaction never commits: its message is lost
    assert reaping.reap() == 0
    Job.objects.update(published_at=timezone.now() - timedelta(minutes=5))
    assert reaping.reap() == 1
    assert sent == [str(job.pk)]
    assert reaping.reap() == 0
    Job.objects.update(published_at=timezone.now() - timedelta(minutes=5))
    assert reaping.reap() == 1


def test_cancel_of_a_queued_job_is_at_once(submit: Submit, steward: Any) -> None:
    job = submit()
    services.request_cancel(job=job, by=steward)
    assert _state(job) == State.CANCELLED
    assert services.claim(job_id=job.pk, worker="late") is None


def test_cancel_of_a_running_job_asks_it(running: Job, steward: Any) -> None:
    services.request_cancel(job=running, by=steward)
    services.request_cancel(job=running, by=steward)
    assert _state(running) == State.RUNNING
    assert services.beat(job=running) is True
    services.end_cancelled(job=running)
    assert _state(running) == State.CANCELLED
    assert AuditEvent.objects.filter(action="job.cancel").count() == 1


def test_cancel_of_a_job_whose_worker_is_gone_does_not_wait_for_the_lease(
    running: Job, steward: Any, settings: Any
) -> None:
    services.request_cancel(job=running, by=steward)
    reaping.reap()
    assert _state(running) == State.RUNNING
    long_ago = timezone.now() - settings.JOB_CANCEL_GRACE - timedelta(seconds=6)
    Job.objects.update(cancel_requested_at=long_ago)
    reaping.reap()
    assert _state(running) == State.CANCELLED


def test_cancel_after_the_end_changes_nothing(running: Job, steward: Any) -> None:
    services.finish(job=running, publish=dict)
    services.request_cancel(job=running, by=steward)
    assert _state(running) == State.SUCCEEDED
    assert running.cancel_requested_at is None


def test_a_follower_waits_and_fails_with_what_it_depends_on(
    submit: Submit,
) -> None:
    first = submit()
    second = submit(depends_on=first)
    third = submit(depends_on=second)
    assert services.claim(job_id=second.pk, worker="early") is None
    claimed = services.claim(job_id=first.pk, worker="one")
    assert claimed is not None
    services.fail(job=claimed, code="broken", message="It broke.")
    assert (_state(second), second.error_code) == (State.FAILED, "dependency")
    assert (_state(third), third.error_code) == (State.FAILED, "dependency")


def test_a_follower_starts_after_success(submit: Submit) -> None:
    first = submit()
    second = submit(depends_on=first)
    execution.execute(str(first.pk))
    assert services.claim(job_id=second.pk, worker="one") is not None


def test_finish_publishes_with_the_settlement_or_not_at_all(
    running: Job, steward: Any
) -> None:
    row = ledger.open_ledger(name="register", fingerprint="f" * 64)
    ledger.declare(
        ledger=row, by=steward, declared_units=600, epsilon_cap="8", delta_cap="1e-5"
    )
    event = GaussianEvent(noise_multiplier=10.0)
    price = ledger.Price(
        purpose="training", event=event, part=Part.ALL, epsilon="0.5", delta="1e-5"
    )
    ledger.reserve(
        ledgers=[row], run_id=running.pk, prices=[price], recipient="me", by=steward
    )
    ledger.charge(run_id=running.pk, purpose="training", event=event)

    def broken() -> dict[str, Any]:
        ledger.note_steward_read(ledgers=[row], by=steward, purpose="publishing")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        services.finish(job=running, publish=broken)
    assert _state(running) == State.RUNNING
    kinds = set(row.entries.values_list("kind", flat=True))
    assert not {EntryKind.SETTLE, EntryKind.STEWARD_READ} & kinds
    services.finish(job=running, publish=lambda: {"model": "m"})
    assert _state(running) == State.SUCCEEDED
    assert row.entries.filter(kind=EntryKind.SETTLE).count() == 1


def test_a_bug_fails_the_job_and_keeps_its_trace(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(attempt: Any) -> Any:
        raise ValueError("secret cell")

    monkeypatch.setattr("jobs.tasks.nothing.run", bug)
    job = submit()
    execution.execute(str(job.pk))
    assert (_state(job), job.error_code) == (State.FAILED, "bug")
    assert "secret cell" in job.trace
    assert "secret cell" not in job.message


def test_an_expected_failure_shows_its_message(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(attempt: Any) -> Any:
        raise JobFailed("The file is empty.", code="empty")

    monkeypatch.setattr("jobs.tasks.nothing.run", refuse)
    job = submit()
    execution.execute(str(job.pk))
    assert (_state(job), job.error_code) == (State.FAILED, "empty")
    assert job.message == "The file is empty."
    assert not job.trace


def test_a_withdrawn_role_stops_a_queued_job(submit: Submit, steward: Any) -> None:
    job = submit(kind="train")
    steward.role = "analyst"
    steward.save()
    execution.execute(str(job.pk))
    assert (_state(job), job.error_code) == (State.FAILED, "not_allowed")


def test_submit_stops_at_the_users_limit(submit: Submit, settings: Any) -> None:
    settings.MAX_JOBS_PER_USER = 2
    submit()
    submit()
    with pytest.raises(TooManyJobs, match="limit"):
        submit()


def test_run_again_makes_a_new_job(submit: Submit, steward: Any) -> None:
    job = submit(spec={"seconds": 0})
    with pytest.raises(NotRepeatable):
        services.run_again(job=job, by=steward)
    services.request_cancel(job=job, by=steward)
    job.refresh_from_db()
    again = services.run_again(job=job, by=steward)
    assert again.pk != job.pk
    assert again.spec == {"seconds": 0}
    assert _state(job) == State.CANCELLED


def test_progress_never_passes_the_total(running: Job) -> None:
    services.report(job=running, stage="counting", done=9, total=5)
    running.refresh_from_db()
    assert (running.done, running.percent) == (5, 100)


@pytest.mark.django_db
def test_workers_say_that_they_live_and_are_forgotten() -> None:
    workers.say_that_it_lives(name="here:1", queues="light")
    Worker.objects.update(seen_at=timezone.now() - timedelta(days=2))
    workers.say_that_it_lives(name="here:2", queues="light")
    assert [worker.name for worker in Worker.objects.all()] == ["here:2"]
    workers.say_goodbye(name="here:2")
    assert not Worker.objects.exists()


def test_every_kind_names_a_function_once() -> None:
    paths = [registry.kind(name).path for name in registry.kinds()]
    assert len(set(paths)) == len(paths)
    with pytest.raises(KeyError):
        registry.kind(str(uuid.uuid4()))
