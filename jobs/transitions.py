"""The steps between states that several services share, each of a locked row.

A row is ended or put back in the transaction of whoever holds its lock; what waited for
that is woken after the commit.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs import failpoints, messages, registry
from jobs.models import Job
from jobs.states import TERMINAL, StaleAttempt, State

_OF_THE_END = (
    "state",
    "stage",
    "done",
    "result",
    "error_code",
    "message",
    "trace",
    "attempt",
    "workers_lost",
    "lease_until",
    "finished_at",
)


def publish(*, job: Job) -> bool:
    """Wake a worker; False where the broker took no message: a reaper sends another."""
    sent = messages.send(job_id=str(job.pk), queue=job.queue)
    if sent:
        Job.objects.filter(pk=job.pk).update(published_at=Now())
    return sent


def end(row: Job, state: State, *, stage: str | None = None) -> None:
    """Give the locked row its terminal state, and with it what waited in vain for it.

    Hooks share the transaction. They lock ledgers, and whoever cancels a follower has
    its row before them: so all rows are locked before the first hook runs.
    """
    behind = [] if state == State.SUCCEEDED else locked_behind(row)
    _end_one(row, state, stage=stage)
    if state == State.SUCCEEDED:
        for follower in row.next.filter(state=State.QUEUED):
            transaction.on_commit(partial(publish, job=follower))
    for follower in behind:
        follower.message = "The job that it depends on did not succeed."
        follower.error_code = "dependency"
        _end_one(follower, State.FAILED)


def locked_behind(row: Job) -> list[Job]:
    """Lock the queued rows that wait for this one, and for those; nearest first."""
    nearest = list(row.next.select_for_update().filter(state=State.QUEUED))
    return [*nearest, *chain.from_iterable(map(locked_behind, nearest))]


def _end_one(row: Job, state: State, *, stage: str | None = None) -> None:
    if row.state in TERMINAL:
        raise StaleAttempt
    row.state = state
    row.stage = stage or row.stage
    row.finished_at = timezone.now()
    row.lease_until = None
    row.save(update_fields=_OF_THE_END)
    registry.run_ended_hooks(row)
    failpoints.reach("end.in_transaction")
    transaction.on_commit(partial(failpoints.reach, "end.committed"))
    transaction.on_commit(partial(_wake_for_next_of, row.owner_id, but=row.pk))


def put_back_lost(row: Job) -> None:
    row.attempt += 1  # fences the lost worker's late writes
    put_back(row, lost=True)


def put_back(row: Job, *, lost: bool) -> None:
    """Queue the locked row again, or end it where it was enough."""
    row.workers_lost += lost
    if row.cancel_requested_at is not None:
        row.message = "Cancelled; its worker had already stopped."
        end(row, State.CANCELLED)
    elif row.workers_lost >= settings.JOB_LOST_WORKERS_LIMIT:
        row.error_code = "poison"
        row.message = (
            f"Its worker stopped {row.workers_lost} times without a word, "
            "perhaps for want of memory. It is not tried again."
        )
        end(row, State.FAILED)
    elif row.attempt >= settings.JOB_ATTEMPTS_LIMIT:
        row.error_code = "attempts"
        row.message = f"It was begun {row.attempt} times and is not tried again."
        end(row, State.FAILED)
    else:
        row.state = State.QUEUED
        row.stage = "waiting for another worker"
        row.published_at = None
        row.lease_until = None
        row.save()
        transaction.on_commit(partial(_wake_for_next_of, row.owner_id, but=row.pk))


def _wake_for_next_of(owner_id: Any, *, but: Any) -> None:
    """What waited only because its owner had enough jobs running may start now.

    Its own message has come to nothing meanwhile.
    """
    own = Job.objects.filter(owner=owner_id)
    running = own.filter(state=State.RUNNING).count()
    if running == settings.MAX_RUNNING_JOBS_PER_USER - 1:
        job = own.in_turn().exclude(pk=but).first()
        if job is not None:
            publish(job=job)
