"""What happens in a worker's child: claim, run with a heartbeat beside it, end.

The heartbeat thread renews the lease, and watches for a cancel. A job looks at
`attempt.check()` between its steps; one that does not stop within the grace time
is ended from the heartbeat thread, together with its process.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from jobs import registry, services
from jobs.models import Job
from jobs.states import JobCancelled, JobFailed, Refusal, StaleAttempt

logger = logging.getLogger(__name__)

# A database that restarts, or that broke a deadlock, is asked again after these.
_RETRY_AFTER = (0.2, 1.0, 3.0, 8.0)


TOO_LONG = "It ran for longer than a job may, and was stopped."


class Attempt:
    """One worker's hold on a job, handed to the function that does it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.spec: dict[str, Any] = job.spec
        self._cancelled = threading.Event()
        self._stale = threading.Event()
        self._too_long = threading.Event()
        self._last_report = 0.0

    def check(self) -> None:
        """Raise when the job was cancelled, or is another worker's by now."""
        if self._stale.is_set():
            raise StaleAttempt
        if self._too_long.is_set():
            raise JobFailed(TOO_LONG, code="too_long")
        if self._cancelled.is_set():
            raise JobCancelled

    def cancelled(self) -> bool:
        """For an engine's loop, which asks rather than be told; then call `check`."""
        return any(
            flag.is_set() for flag in (self._cancelled, self._stale, self._too_long)
        )

    def held(self) -> AbstractContextManager[None]:
        """A transaction in which no other attempt owns the job: `services.held`."""
        return services.held(job=self.job)

    def report(
        self, stage: str, done: int = 0, total: int = 0, epsilon: str | None = None
    ) -> None:
        """Show stage and progress, at most five times a second; then `check`."""
        now = time.monotonic()
        if now - self._last_report > 0.2 or done == total:
            self._last_report = now
            try:
                services.report(
                    job=self.job,
                    stage=stage,
                    done=done,
                    total=total,
                    epsilon_spent=epsilon,
                )
            except (OperationalError, InterfaceError):
                if connection.in_atomic_block:
                    raise
                logger.warning("progress of job %s was not written", self.job.pk)
                connection.close()
        self.check()


class _Heartbeat:
    """Renews the lease in a thread of its own while the job runs."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        began = last_beat = time.monotonic()
        stop_since: float | None = None
        try:
            while not self._stop.wait(settings.JOB_CANCEL_POLL.total_seconds()):
                now = time.monotonic()
                try:
                    if now - last_beat >= settings.JOB_HEARTBEAT.total_seconds():
                        services.beat(job=self._attempt.job)
                        last_beat = now
                    wanted = services.cancel_requested(job=self._attempt.job)
                except StaleAttempt:
                    self._attempt._stale.set()
                    return
                except Exception:  # the database may be away for a moment
                    logger.warning("heartbeat missed", exc_info=True)
                    connection.close()
                    continue
                if wanted:
                    self._attempt._cancelled.set()
                elif now - began > settings.JOB_MAX_RUN_TIME.total_seconds():
                    self._attempt._too_long.set()
                else:
                    continue
                stop_since = stop_since or now
                if now - stop_since > settings.JOB_CANCEL_GRACE.total_seconds():
                    self._end_process(cancelled=wanted)
        finally:
            connection.close()

    def _end_process(self, *, cancelled: bool) -> None:
        """The job does not stop by itself: end it on the record, then in fact."""
        try:
            if cancelled:
                services.end_cancelled(job=self._attempt.job)
            else:
                services.fail(job=self._attempt.job, code="too_long", message=TOO_LONG)
        except StaleAttempt:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def execute(job_id: str) -> None:
    """Do the job that a message names, if this worker can have it."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    job = services.claim(job_id=job_id, worker=worker)
    if job is None:
        return
    attempt = Attempt(job)
    try:
        with _Heartbeat(attempt):
            registry.run_starting_hooks(job)
            publish = registry.kind(job.kind).run(attempt)
            attempt.check()
            _patiently(lambda: services.finish(job=job, publish=publish))
    except StaleAttempt:
        logger.warning("job %s is another attempt's now", job.pk)
    except JobCancelled:
        _end(lambda: services.end_cancelled(job=job))
    except Refusal as error:
        failure = {"code": error.code, "message": error.message}
        _end(lambda: services.fail(job=job, **failure))
    except Exception:
        if not connection.is_usable():
            logger.warning("job %s lost its database; the reaper has it", job.pk)
            connection.close()
            return
        trace = traceback.format_exc()
        logger.error("job %s (%s) broke; its trace is on the job", job.pk, job.kind)
        message = "Something went wrong in the hub. Its administrator can see why."
        _end(lambda: services.fail(job=job, code="bug", message=message, trace=trace))


def _end(write: Callable[[], None]) -> None:
    try:
        _patiently(write)
    except StaleAttempt:
        logger.warning("a stale attempt could not end its job")


def _patiently(write: Callable[[], None]) -> None:
    """Make a write of one transaction, again after an outage or a deadlock.

    Whether a transaction whose commit was cut off went through is told by the second
    try: it finds a job that ended, and raises StaleAttempt.
    """
    for pause in _RETRY_AFTER:
        try:
            write()
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block:
                raise
            logger.warning("the database refused a job's end; once more in %s s", pause)
            connection.close()
            time.sleep(pause)
        else:
            return
    write()
