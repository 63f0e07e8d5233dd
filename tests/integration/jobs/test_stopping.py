"""What does not stop is ended: its process, and the row that no worker ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs import execution, services
from jobs.models import Job
from jobs.states import StaleAttempt, State


class Kills:
    """Signals that would have ended the tests' own process."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []
        self.one = threading.Event()

    def __call__(self, pid: int, number: int) -> None:
        self.sent.append((pid, number))
        self.one.set()


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Kills:
    settings.JOB_CANCEL_POLL = timedelta(milliseconds=5)
    settings.JOB_CANCEL_GRACE = timedelta(milliseconds=200)
    seen = Kills()
    monkeypatch.setattr(os, "kill", seen)
    return seen


def _stale(**_: Any) -> Any:
    raise StaleAttempt


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> execution.Attempt:
    """Another attempt owns its job by now."""
    for name in ("beat", "cancel_requested", "end_cancelled"):
        monkeypatch.setattr(services, name, _stale)
    return execution.Attempt(Job(kind="nothing"))


KILLED = [(os.getpid(), signal.SIGKILL)]


def test_a_stale_job_that_does_not_stop_is_ended_with_its_process(
    attempt: execution.Attempt, kills: Kills
) -> None:
    with execution._Heartbeat(attempt):
        assert kills.one.wait(5)
    assert kills.sent == KILLED


def test_a_stale_job_that_stops_in_time_keeps_its_process(
    attempt: execution.Attempt, kills: Kills, settings: Any
) -> None:
    settings.JOB_CANCEL_GRACE = timedelta(seconds=5)
    with execution._Heartbeat(attempt) as heartbeat:
        assert attempt._stale.wait(5)
    assert not heartbeat._thread.is_alive()
    assert kills.sent == []


def test_a_cancelled_job_that_was_reaped_meanwhile_is_ended_too(
    attempt: execution.Attempt, kills: Kills
) -> None:
    heartbeat = execution._Heartbeat(attempt)
    attempt._cancelled.set()
    heartbeat._end_process()
    assert kills.sent == KILLED
    with pytest.raises(StaleAttempt):
        attempt.check()


@pytest.mark.parametrize("asked_before", [False, True])
def test_a_cancel_is_final_where_no_worker_is_left_to_end_the_job(
    running: Job, steward: Any, asked_before: bool
) -> None:
    if asked_before:
        services.request_cancel(job=running, by=steward)
    past = timezone.now() - timedelta(seconds=1)
    Job.objects.filter(pk=running.pk).update(lease_until=past)
    assert services.request_cancel(job=running, by=steward).state == State.CANCELLED
    with pytest.raises(StaleAttempt):
        services.finish(job=running, publish=dict)


def test_a_cancel_leaves_a_living_worker_its_time(running: Job, steward: Any) -> None:
    for _ in range(2):
        row = services.request_cancel(job=running, by=steward)
        assert (row.state, row.attempt) == (State.RUNNING, running.attempt)
    assert row.cancel_requested_at is not None


def test_a_cancelled_row_is_not_put_back(
    submit: Callable[..., Job], steward: Any
) -> None:
    ended = services.request_cancel(job=submit(), by=steward)
    again = services.request_cancel(job=ended, by=steward)
    assert (again.state, again.attempt) == (State.CANCELLED, 0)
