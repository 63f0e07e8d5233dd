"""What happens in a worker's child: claim, run with a heartbeat beside it, end.

The heartbeat thread renews the lease, and watches for a cancel, for the end of the
time that a job may take, and for a worker that is to stop. A job looks at
`attempt.check()` between its steps; one that does not stop within the grace time is
ended from the heartbeat thread, together with its process.
"""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from jobs import draining, failpoints, messages, outages, registry, services
from jobs.models import Job
from jobs.states import GivenBack, JobCancelled, JobFailed, Refusal, StaleAttempt
from privacyhub import logs

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
        self._given_back = threading.Event()
        self._last_report = 0.0

    def check(self) -> None:
        """Raise when the job is to stop, or is another worker's by now."""
        if self._stale.is_set():
            raise StaleAttempt
        if self._too_long.is_set():
            raise JobFailed(TOO_LONG, code="too_long")
        if self._cancelled.is_set():
            raise JobCancelled
        if self._given_back.is_set():
            raise GivenBack

    def cancelled(self) -> bool:
        """For an engine's loop, which asks rather than be told; then call `check`."""
        return any(
            flag.is_set()
            for flag in (
                self._cancelled,
                self._stale,
                self._too_long,
                self._given_back,
            )
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
                logger.warning("progress was not written")
                connection.close()
        self.check()


class _Heartbeat:
    """Renews the lease in a thread of its own while the job runs."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._stop = threading.Event()
        self._asked_at = 0.0  # when the job was asked to stop
        context = contextvars.copy_context()  # its lines carry the job's id too
        self._thread = threading.Thread(
            target=context.run, args=(self._watch,), daemon=True
        )

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
        try:
            while not self._stop.wait(settings.JOB_CANCEL_POLL.total_seconds()):
                now = time.monotonic()
                try:
                    if now - last_beat >= settings.JOB_HEARTBEAT.total_seconds():
                        wanted = services.beat(job=self._attempt.job)
                        last_beat = now
                    else:
                        wanted = services.cancel_requested(job=self._attempt.job)
                except StaleAttempt:
                    self._leave()
                    return
                except Exception:  # the database may be away for a moment
                    logger.warning("heartbeat missed", exc_info=True)
                    connection.close()
                    continue
                if self._must_end(cancelled=wanted, ran=now - began):
                    self._end_process()
        finally:
            connection.close()

    def _must_end(self, *, cancelled: bool, ran: float) -> bool:
        """Ask the job to stop where it should; True when it was asked too long ago."""
        longest = settings.JOB_MAX_RUN_TIME.total_seconds()
        drained_for = draining.seconds_since() - settings.JOB_DRAIN.total_seconds()
        if cancelled:
            flag, grace = self._attempt._cancelled, settings.JOB_CANCEL_GRACE
        elif ran > longest:
            flag, grace = self._attempt._too_long, settings.JOB_CANCEL_GRACE
        elif drained_for >= 0:
            flag, grace = self._attempt._given_back, settings.JOB_DRAIN_GRACE
        else:
            return False
        if not flag.is_set():
            flag.set()
            self._asked_at = time.monotonic()
        return time.monotonic() - self._asked_at > grace.total_seconds()

    def _end_process(self) -> None:
        """The job does not stop by itself: end it on the record, then in fact."""
        attempt, job = self._attempt, self._attempt.job
        try:
            if attempt._cancelled.is_set():
                services.end_cancelled(job=job)
            elif attempt._too_long.is_set():
                services.fail(job=job, code="too_long", message=TOO_LONG)
            else:
                services.give_back(job=job)
        except StaleAttempt:
            self._leave()
        except (OperationalError, InterfaceError):
            logger.warning("the end was not written")
            connection.close()
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def _leave(self) -> None:
        """The job is another's, or has ended: what does not stop is ended in fact."""
        self._attempt._stale.set()
        if not self._stop.wait(settings.JOB_CANCEL_GRACE.total_seconds()):
            logger.warning("did not stop; its process is ended")
            os.kill(os.getpid(), signal.SIGKILL)


def worker_name() -> str:
    """Of this child: host, its worker's process, its own."""
    return f"{socket.gethostname()}:{os.getppid()}:{os.getpid()}"


def execute(job_id: str) -> None:
    """Do this job, if this worker can have it."""
    job = services.claim(job_id=job_id, worker=worker_name())
    if job is not None:
        _logged(job)


def execute_next(*, job_id: str, queue: str) -> None:
    """A message woke us: do what is next in its queue, be it that job or another.

    The row decides, so a job of a higher priority that came later goes first, with
    every broker. Each message wakes one worker for one job, whichever it takes.
    """
    if draining.is_asked():
        messages.send(job_id=job_id, queue=queue)  # for a worker that stays
        return
    job = services.claim_next(queue=queue, worker=worker_name())
    if job is not None:
        _logged(job)


def _logged(job: Job) -> None:
    began = time.monotonic()
    with logs.of(request=job.request_id, job=str(job.pk)):
        logger.info("began", extra={"told": {"kind": job.kind, "attempt": job.attempt}})
        how = _run(job)
        seconds = round(time.monotonic() - began, 3)
        logger.info(how, extra={"told": {"kind": job.kind, "seconds": seconds}})


def _run(job: Job) -> str:
    """Run the job and write its end; a word on how it went, for the log."""
    attempt = Attempt(job)
    try:
        with _Heartbeat(attempt):
            registry.run_starting_hooks(job)
            failpoints.reach("run.starting")
            publish = registry.kind(job.kind).run(attempt)
            failpoints.reach("run.returned")
            attempt.check()
            _patiently(lambda: services.finish(job=job, publish=publish))
        return "succeeded"
    except StaleAttempt:
        return "is another attempt's now"
    except JobCancelled:
        return _end("cancelled", lambda: services.end_cancelled(job=job))
    except GivenBack:
        return _end("given back", lambda: services.give_back(job=job))
    except MemoryError:
        return _end("out of memory", lambda: services.give_back(job=job, lost=True))
    except Refusal as error:
        return _end("failed", partial(_fail, job, error))
    except Exception as error:
        if outages.is_outage(error) or not connection.is_usable():
            connection.close()
            return _end("lost its database", lambda: services.give_back(job=job))
        if outages.is_full(error):
            logger.error("met a full disk", exc_info=True)
            return _end("failed", partial(_fail, job, outages.disk_full()))
        trace = traceback.format_exc()
        logger.error("broke; its trace is on the job", exc_info=True)
        message = "Something went wrong in the hub. Its administrator can see why."
        return _end(
            "broke",
            lambda: services.fail(job=job, code="bug", message=message, trace=trace),
        )


def _fail(job: Job, refusal: Refusal) -> None:
    services.fail(job=job, code=refusal.code, message=refusal.message)


def _end(how: str, write: Callable[[], None]) -> str:
    try:
        _patiently(write)
    except StaleAttempt:
        return "is another attempt's now"
    except (OperationalError, InterfaceError):
        connection.close()
        return "lost its database for long; the reaper has it"
    return how


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
