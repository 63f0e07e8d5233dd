"""Every change of a job's state. Nothing else writes to a job.

The order that makes a job survive any crash:
1. `submit` writes the row; the message goes out after the commit.
2. `claim` takes it with one conditional UPDATE, which raises `attempt`.
3. Each later write says `attempt = mine`, so a worker that was thought dead and
   wakes up changes nothing.
4. `finish` publishes the result in the transaction of the terminal state.
5. `reap` finds what was lost between these steps and sends a new message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs import messages, registry
from jobs.models import Job, Worker
from jobs.registry import Publish
from jobs.states import TERMINAL, NotRepeatable, StaleAttempt, State, TooManyJobs

REAPED_AT_ONCE = 500
WORKERS_KEPT = timedelta(days=1)


@transaction.atomic
def submit(
    *,
    kind: str,
    title: str,
    owner: Any,
    spec: dict[str, Any],
    depends_on: Job | None = None,
    priority: int = 0,
    job_id: Any = None,
) -> Job:
    """Accept a job: the row now, its message after the commit.

    Raises TooManyJobs when the owner's limit of open jobs is reached.
    """
    open_jobs = Job.objects.filter(owner=owner).open().count()
    if open_jobs >= settings.MAX_JOBS_PER_USER:
        raise TooManyJobs(
            f"You have {open_jobs} jobs queued or running, which is the limit. "
            "Wait for one to end, or cancel one."
        )
    job = Job(
        kind=kind,
        title=title[:200],
        owner=owner,
        queue=registry.kind(kind).queue,
        spec=spec,
        depends_on=depends_on,
        priority=priority,
    )
    if job_id is not None:
        job.id = job_id
    job.save(force_insert=True)
    registry.run_accepted_hooks(job)
    if depends_on is None:
        transaction.on_commit(lambda: publish(job=job))
    return job


def publish(*, job: Job) -> None:
    """Wake a worker. A message that is lost here is sent again by `reap`."""
    if messages.send(job_id=str(job.pk), queue=job.queue, priority=job.priority):
        Job.objects.filter(pk=job.pk).update(published_at=Now())


def claim(*, job_id: Any, worker: str) -> Job | None:
    """Take the job for this worker, or None when it is not to be had.

    The UPDATE hits a row only while the job is queued, so of any number of messages
    and workers one wins.
    """
    won = (
        Job.objects.claimable()
        .filter(pk=job_id)
        .update(
            state=State.RUNNING,
            attempt=F("attempt") + 1,
            worker=worker[:120],
            lease_until=Now() + settings.JOB_LEASE,
            heartbeat_at=Now(),
            started_at=Now(),
            stage="starting",
        )
    )
    return Job.objects.get(pk=job_id) if won else None


def beat(*, job: Job) -> bool:
    """Renew the lease; True when a cancel was asked for.

    Raises StaleAttempt when another attempt owns the job.
    """
    _write(job, lease_until=Now() + settings.JOB_LEASE, heartbeat_at=Now())
    return cancel_requested(job=job)


def cancel_requested(*, job: Job) -> bool:
    row = Job.objects.filter(pk=job.pk).values_list("attempt", "cancel_requested_at")
    attempt, requested_at = row.get()
    if attempt != job.attempt:
        raise StaleAttempt
    return requested_at is not None


def report(
    *, job: Job, stage: str, done: int, total: int, epsilon_spent: str | None = None
) -> None:
    """Show progress. Raises StaleAttempt when another attempt owns the job."""
    values: dict[str, Any] = {
        "stage": stage[:80],
        "done": min(done, total),
        "total": total,
    }
    if epsilon_spent is not None:
        values["epsilon_spent"] = epsilon_spent
    _write(job, **values)


@contextmanager
def held(*, job: Job) -> Iterator[None]:
    """A transaction in which the job is surely this attempt's, or StaleAttempt.

    For writes beside the job's own, such as a charge: a worker that was thought dead
    must not make them.
    """
    with transaction.atomic():
        _mine_locked(job)
        yield


def _write(job: Job, **values: Any) -> None:
    mine = Job.objects.filter(pk=job.pk, attempt=job.attempt, state=State.RUNNING)
    if not mine.update(**values):
        raise StaleAttempt


@transaction.atomic
def finish(*, job: Job, publish: Publish) -> None:
    """Publish the result and end the job, in one transaction."""
    row = _mine_locked(job)
    registry.run_finishing_hooks(row)
    row.result = publish()
    row.done = row.total
    _end(row, State.SUCCEEDED, stage="done")


@transaction.atomic
def fail(*, job: Job, code: str, message: str, trace: str = "") -> None:
    row = _mine_locked(job)
    row.error_code, row.message, row.trace = code[:40], message, trace
    _end(row, State.FAILED)


@transaction.atomic
def end_cancelled(*, job: Job) -> None:
    row = _mine_locked(job)
    row.message = "Cancelled on request."
    _end(row, State.CANCELLED)


@transaction.atomic
def request_cancel(*, job: Job, by: Any) -> Job:
    """Cancel at once what is queued; ask a running job to stop."""
    row = Job.objects.select_for_update().get(pk=job.pk)
    if row.state in TERMINAL or row.cancel_requested_at is not None:
        return row
    registry.run_cancel_hooks(row, by)
    row.cancel_requested_at = timezone.now()
    if row.state == State.QUEUED:
        row.message = "Cancelled before it started."
        _end(row, State.CANCELLED)
    else:
        row.save(update_fields=["cancel_requested_at"])
    return row


def run_again(*, job: Job, by: Any) -> Job:
    """A new job for one that failed or was cancelled, made by the kind's own domain.

    Raises NotRepeatable where the kind has no way, or the job did not end so.
    """
    again = registry.kind(job.kind).again
    if again is None or job.state not in {State.FAILED, State.CANCELLED}:
        raise NotRepeatable("This job cannot be run again. Start a new one.")
    return again(job=job, by=by)


def submit_alike(*, job: Job, by: Any) -> Job:
    """For kinds whose jobs stand alone: the same specification once more."""
    return submit(kind=job.kind, title=job.title, owner=by, spec=job.spec)


@transaction.atomic
def mark_seen(*, owner: Any) -> None:
    """The owner has looked at the bell."""
    ended = Job.objects.filter(owner=owner, state__in=TERMINAL, seen_at=None)
    ended.update(seen_at=timezone.now())


def say_that_it_lives(*, name: str, queues: str) -> None:
    """A worker's sign of life; those that are silent for a day are forgotten."""
    Worker.objects.update_or_create(name=name, defaults={"queues": queues[:80]})
    Worker.objects.filter(seen_at__lt=timezone.now() - WORKERS_KEPT).delete()


def say_goodbye(*, name: str) -> None:
    Worker.objects.filter(name=name).delete()


def reap() -> int:
    """Put back what lost its worker and wake workers for what waits.

    Returns how many messages were sent. Runs by the database's clock.
    """
    _reap_expired()
    unheard = Q(published_at=None) | Q(
        published_at__lt=Now() - settings.JOB_REPUBLISH_AFTER
    )
    waiting = (
        Job.objects.claimable().filter(unheard).order_by("-priority", "created_at")
    )[:REAPED_AT_ONCE]
    for job in waiting:
        publish(job=job)
    return len(waiting)


def _lost() -> Q:
    """Running without a word for a lease, or past the time that a cancel may take.

    A live worker ends a cancelled job itself within the grace time.
    """
    grace = settings.JOB_CANCEL_GRACE + 5 * settings.JOB_CANCEL_POLL
    return Q(state=State.RUNNING) & (
        Q(lease_until__lt=Now()) | Q(cancel_requested_at__lt=Now() - grace)
    )


def _reap_expired() -> None:
    for pk in list(Job.objects.filter(_lost()).values_list("pk", flat=True)):
        with transaction.atomic():
            row = Job.objects.select_for_update().filter(_lost(), pk=pk).first()
            if row is None:
                continue
            row.attempt += 1  # fences the lost worker's late writes
            row.workers_lost += 1
            if row.cancel_requested_at is not None:
                row.message = "Cancelled; its worker had already stopped."
                _end(row, State.CANCELLED)
            elif row.workers_lost >= settings.JOB_LOST_WORKERS_LIMIT:
                row.error_code = "poison"
                row.message = (
                    f"Its worker stopped {row.workers_lost} times without a word, "
                    "perhaps for want of memory. It is not tried again."
                )
                _end(row, State.FAILED)
            else:
                row.state = State.QUEUED
                row.stage = "waiting for another worker"
                row.published_at = None
                row.lease_until = None
                row.save()


def _mine_locked(job: Job) -> Job:
    row = Job.objects.select_for_update().get(pk=job.pk)
    if row.attempt != job.attempt or row.state != State.RUNNING:
        raise StaleAttempt
    return row


def _end(row: Job, state: State, *, stage: str | None = None) -> None:
    """Give the locked row its terminal state; hooks share the transaction."""
    if row.state in TERMINAL:
        raise StaleAttempt
    row.state = state
    row.stage = stage or row.stage
    row.finished_at = timezone.now()
    row.lease_until = None
    row.save()
    registry.run_ended_hooks(row)
    if state == State.SUCCEEDED:
        for follower in row.next.filter(state=State.QUEUED):
            transaction.on_commit(partial(publish, job=follower))
    else:
        for follower in row.next.select_for_update().filter(state=State.QUEUED):
            follower.message = "The job that it depends on did not succeed."
            follower.error_code = "dependency"
            _end(follower, State.FAILED)
