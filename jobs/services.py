"""Every change of a job's state, with `transitions` and `reaping`; none is elsewhere.

The order that makes a job survive any crash:
1. `submit` writes the row; the message goes out after the commit.
2. `claim_next` takes the best that waits with one conditional UPDATE, which raises
   `attempt`. A message only wakes: what is taken, the rows decide.
3. Each later write says `attempt = mine`, so a worker that was thought dead and
   wakes up changes nothing.
4. `finish` publishes the result in the transaction of the terminal state.
5. `reaping` finds what was lost between these steps and sends a new message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs import failpoints, messages, registry
from jobs.models import Job, JobQuerySet
from jobs.registry import Publish
from jobs.states import (
    TERMINAL,
    NotQueued,
    NotRepeatable,
    StaleAttempt,
    State,
    TooManyJobs,
)
from jobs.transitions import end, locked_behind, publish, put_back, put_back_lost
from privacyhub import logs


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
    job = Job(
        kind=kind,
        title=title[:200],
        owner=owner,
        queue=registry.kind(kind).queue,
        spec=spec,
        depends_on=depends_on,
        priority=priority,
        request_id=logs.request_id(),
    )
    if depends_on is not None:
        job.published_at = None
    if job_id is not None:
        job.id = job_id
    job.save(force_insert=True)
    registry.run_accepted_hooks(job)
    _limit_open_jobs(owner)
    failpoints.reach("submit.in_transaction")
    transaction.on_commit(partial(_accepted, job))
    return job


def _limit_open_jobs(owner: Any) -> None:
    """Counts the job that is being accepted too.

    After the hooks: one of them adds to the audit trail, whose lock lets one accepting
    transaction at a time come here, so that requests at once do not pass the limit. A
    lock of the owner's row would be taken before or after that one, as callers differ,
    and the two would wait for each other.
    """
    most = settings.MAX_JOBS_PER_USER
    if Job.objects.filter(owner=owner).open().count() > most:
        raise TooManyJobs(
            f"You have {most} jobs queued or running, which is the limit. "
            "Wait for one to end, or cancel one."
        )


def _accepted(job: Job) -> None:
    """The row says since its first moment that a message is on its way."""
    failpoints.reach("submit.committed")
    if job.depends_on_id is not None:
        return
    if not messages.send(job_id=str(job.pk), queue=job.queue):
        Job.objects.filter(pk=job.pk).update(published_at=None)
    failpoints.reach("publish.sent")


def claim(*, job_id: Any, worker: str) -> Job | None:
    """Take this job for the worker, or None when it is not to be had."""
    return _take(Job.objects.filter(pk=job_id), worker=worker)


def claim_next(*, queue: str, worker: str) -> Job | None:
    """Take the first in turn of the queue for the worker, or None."""
    return _take(Job.objects.filter(queue=queue), worker=worker)


def _take(jobs: JobQuerySet, *, worker: str) -> Job | None:
    passed_over: set[Any] = set()
    while True:
        found, owner = _take_or_pass(jobs.exclude(owner__in=passed_over), worker=worker)
        if owner is None:
            break
        passed_over.add(owner)
    if found is not None:
        failpoints.reach("claim.committed")
    return found


@transaction.atomic
def _take_or_pass(jobs: JobQuerySet, *, worker: str) -> tuple[Job | None, Any]:
    """The first in turn, taken; or nothing and the owner who may run no more.

    A row that another worker is taking is skipped, never waited for. The owner's row is
    locked while the owner's running jobs are counted, so that two workers at once do
    not pass the limit. The UPDATE hits a row only while the job is queued.
    """
    in_turn = jobs.in_turn().select_for_update(skip_locked=True, of=("self",))
    job = in_turn.select_related("owner").first()
    if job is None:
        return None, None
    _lock_owner(job)
    running = Job.objects.filter(owner=job.owner_id, state=State.RUNNING).count()
    if running >= settings.MAX_RUNNING_JOBS_PER_USER:
        return None, job.owner_id
    job.state, job.stage, job.worker = State.RUNNING, "starting", worker[:120]
    job.attempt += 1
    won = Job.objects.filter(pk=job.pk, state=State.QUEUED, attempt=job.attempt - 1)
    taken = won.update(
        state=job.state,
        stage=job.stage,
        worker=job.worker,
        attempt=job.attempt,
        lease_until=Now() + settings.JOB_LEASE,
        heartbeat_at=Now(),
        started_at=Now(),
    )
    failpoints.reach("claim.in_transaction")
    return (job if taken else None), None


def _lock_owner(job: Job) -> None:
    if connection.features.has_select_for_update:
        owners = type(job.owner)._default_manager.select_for_update(no_key=True)
        owners.values_list("pk").get(pk=job.owner_id)


def beat(*, job: Job) -> bool:
    """Renew the lease; True when a cancel was asked for.

    Raises StaleAttempt when another attempt owns the job.
    """
    _write(job, lease_until=Now() + settings.JOB_LEASE, heartbeat_at=Now())
    failpoints.reach("beat.written")
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


def note_saved(*, job: Job, position: int) -> None:
    """A checkpoint at `position` is there: further than before, it is progress.

    To be called while the job is `held`.

    Poison means three lost workers in a row, and progress ends the row. As positions
    only grow, a job that kills each worker still comes to its end.
    """
    further = Job.objects.filter(pk=job.pk, saved_to__lt=position)
    further.update(workers_lost=0, saved_to=position)


def _write(job: Job, **values: Any) -> None:
    mine = Job.objects.filter(pk=job.pk, attempt=job.attempt, state=State.RUNNING)
    if not mine.update(**values):
        raise StaleAttempt


@transaction.atomic
def finish(*, job: Job, publish: Publish) -> None:
    """Publish the result and end the job, in one transaction."""
    row = _mine_locked(job)
    failpoints.reach("finish.locked")
    registry.run_finishing_hooks(row)
    row.result = publish()
    failpoints.reach("finish.published")
    row.done = row.total
    end(row, State.SUCCEEDED, stage="done")


@transaction.atomic
def fail(*, job: Job, code: str, message: str, trace: str = "") -> None:
    row = _mine_locked(job)
    row.error_code, row.message, row.trace = code[:40], message, trace
    end(row, State.FAILED)


@transaction.atomic
def end_cancelled(*, job: Job) -> None:
    row = _mine_locked(job)
    row.message = "Cancelled on request."
    end(row, State.CANCELLED)


@transaction.atomic
def request_cancel(*, job: Job, by: Any) -> Job:
    """Cancel at once what is queued or lost its worker; ask a running job to stop."""
    row = Job.objects.select_for_update().get(pk=job.pk)
    if row.state in TERMINAL:
        return row
    if row.cancel_requested_at is None:
        locked_behind(row)  # as `end` does, and before these hooks for the same reason
        registry.run_cancel_hooks(row, by)
        # By the database's clock, since the reaper looks at it.
        Job.objects.filter(pk=row.pk).update(cancel_requested_at=Now())
        row.refresh_from_db(fields=["cancel_requested_at"])
    if row.state == State.QUEUED:
        row.message = "Cancelled before it started."
        end(row, State.CANCELLED)
    elif Job.objects.lost().filter(pk=row.pk).exists():
        put_back_lost(row)  # at once: a reaper would come only with its next round
    failpoints.reach("cancel.in_transaction")
    transaction.on_commit(partial(failpoints.reach, "cancel.committed"))
    return row


def set_priority(*, job: Job, priority: int) -> Job:
    """Let a queued job go before those of a lower priority, in its queue.

    Raises NotQueued once a worker has taken it, or it ended.
    """
    waiting = Job.objects.filter(pk=job.pk, state=State.QUEUED)
    if not waiting.update(priority=priority):
        raise NotQueued("Only a job that waits has a turn to change.")
    job.refresh_from_db()
    return job


def run_again(*, job: Job, by: Any) -> Job:
    """A new job for one that failed or was cancelled, made by the kind's own domain.

    Raises NotRepeatable where the kind has no way, or the job did not end so.
    """
    kind = registry.kind(job.kind)
    if job.state not in {State.FAILED, State.CANCELLED}:
        raise NotRepeatable("Only a job that failed or was cancelled is run again.")
    again = kind.again
    if again is None:
        raise NotRepeatable(f"This job cannot be run again. {kind.anew}")
    return again(job=job, by=by)


def submit_alike(*, job: Job, by: Any) -> Job:
    """For kinds whose jobs stand alone: the same specification once more."""
    return submit(kind=job.kind, title=job.title, owner=by, spec=job.spec)


@transaction.atomic
def mark_seen(*, owner: Any) -> None:
    """The owner has looked at the bell."""
    ended = Job.objects.filter(owner=owner, state__in=TERMINAL, seen_at=None)
    ended.update(seen_at=timezone.now())


@transaction.atomic
def give_back(*, job: Job, lost: bool = False) -> None:
    """Let another worker go on with it at once. The job is this attempt's still.

    With `lost` it counts as a lost worker, such as one without memory.
    """
    row = _mine_locked(job)
    put_back(row, lost=lost)
    failpoints.reach("release.in_transaction")
    if row.state == State.QUEUED:
        transaction.on_commit(partial(publish, job=row))


def _mine_locked(job: Job) -> Job:
    rows = Job.objects.select_related("owner").select_for_update(of=("self",))
    row = rows.get(pk=job.pk)
    if row.attempt != job.attempt or row.state != State.RUNNING:
        raise StaleAttempt
    return row
