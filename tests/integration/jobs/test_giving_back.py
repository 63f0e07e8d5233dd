"""Attempts that end without an end of the job: lost, given back, out of memory."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection

from jobs import draining, execution, outages, services
from jobs.models import Job
from jobs.states import StaleAttempt, State

Submit = Callable[..., Job]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let jobs that do nothing do something."""

    def replace(function: Any) -> None:
        monkeypatch.setattr("jobs.tasks.nothing.run", function)

    return replace


def _raise(error: BaseException) -> Callable[[Any], Any]:
    def run(attempt: Any) -> Any:
        raise error

    return run


def test_what_is_given_back_is_another_workers_at_once(running: Job) -> None:
    services.give_back(job=running)
    with pytest.raises(StaleAttempt):
        services.finish(job=running, publish=dict)
    second = services.claim_next(queue="light", worker="two")
    assert second is not None
    assert (second.pk, second.attempt, second.workers_lost) == (running.pk, 2, 0)


def test_what_is_given_back_after_a_cancel_is_cancelled(
    running: Job, steward: Any
) -> None:
    services.request_cancel(job=running, by=steward)
    services.give_back(job=running)
    running.refresh_from_db()
    assert running.state == State.CANCELLED


def test_a_job_without_memory_is_poison_after_three(
    submit: Submit, instead: Any
) -> None:
    instead(_raise(MemoryError()))
    job = submit()
    for lost in (1, 2, 3):
        execution.execute_next(job_id=str(job.pk), queue="light")
        job.refresh_from_db()
        assert job.workers_lost == lost
    assert (job.state, job.error_code) == (State.FAILED, "poison")


def test_a_database_that_was_away_does_not_count_as_a_lost_worker(
    submit: Submit, instead: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A lost connection is closed; the one here holds the test's own transaction.
    monkeypatch.setattr(connection, "close", lambda: None)
    lost = OperationalError("server closed the connection unexpectedly")
    instead(_raise(lost))
    job = submit()
    settings.JOB_ATTEMPTS_LIMIT = 6
    for _ in range(5):
        execution.execute_next(job_id=str(job.pk), queue="light")
        job.refresh_from_db()
        assert (job.state, job.workers_lost) == (State.QUEUED, 0)
    execution.execute_next(job_id=str(job.pk), queue="light")
    job.refresh_from_db()
    assert (job.state, job.error_code) == (State.FAILED, "attempts")


def _caused(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error


class _Postgres(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


def _sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("no word")
    error.sqlite_errorcode = code  # type: ignore[misc]
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_caused(OperationalError(), _Postgres(None)), True),
        (_caused(OperationalError(), _Postgres("57P01")), True),
        (_caused(OperationalError(), _Postgres("40P01")), True),
        (_caused(OperationalError(), _Postgres("55P03")), True),
        (_caused(OperationalError(), _Postgres("42P01")), False),
        (_caused(OperationalError(), _sqlite(sqlite3.SQLITE_BUSY)), True),
        (_caused(OperationalError(), _sqlite(sqlite3.SQLITE_ERROR)), False),
        (InterfaceError("connection already closed"), True),
        (_caused(RuntimeError(), InterfaceError()), True),
        (ValueError(), False),
    ],
)
def test_an_outage_is_told_from_a_mistake(error: Exception, expected: bool) -> None:
    assert outages.is_outage(error) is expected


def _until_asked(attempt: Any) -> Any:
    while not attempt.cancelled():
        time.sleep(0.01)
    attempt.check()


def test_a_job_at_work_is_given_back_when_the_worker_is_to_stop(
    submit: Submit, instead: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOB_DRAIN = timedelta(0)
    watch = execution._Heartbeat
    monkeypatch.setattr(watch, "_watch", _watch_once)

    def run(attempt: Any) -> Any:
        draining.begin()
        return _until_asked(attempt)

    instead(run)
    job = submit()
    try:
        execution.execute(str(job.pk))
    finally:
        draining.forget()
    job.refresh_from_db()
    assert (job.state, job.attempt, job.workers_lost) == (State.QUEUED, 1, 0)


def test_a_job_that_ran_too_long_fails(
    submit: Submit, instead: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOB_MAX_RUN_TIME = timedelta(0)
    monkeypatch.setattr(execution._Heartbeat, "_watch", _watch_once)
    instead(_until_asked)
    job = submit()
    execution.execute(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.error_code) == (State.FAILED, "too_long")


def _watch_once(heartbeat: Any) -> None:
    """The decision of the real one, without its reads: a test's transaction is not
    open to another thread."""
    time.sleep(0.05)
    assert not heartbeat._must_end(cancelled=False, ran=0.05)
