"""A job: the database row is the truth, a broker's message only wakes a worker."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now

from jobs.queues import Queue
from jobs.states import OPEN, TERMINAL, State

LEAST_PRIORITY, NORMAL_PRIORITY, MOST_PRIORITY = -10, 0, 10


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, user: Any) -> JobQuerySet:
        """A user's own jobs; auditors and administrators see every one."""
        if user.is_auditor or user.is_admin:
            return self
        return self.filter(owner=user)

    def open(self) -> JobQuerySet:
        return self.filter(state__in=OPEN)

    def claimable(self) -> JobQuerySet:
        """Queued, not cancelled, and waiting for no other job."""
        return self.filter(state=State.QUEUED, cancel_requested_at=None).filter(
            Q(depends_on=None) | Q(depends_on__state=State.SUCCEEDED)
        )

    def in_turn(self) -> JobQuerySet:
        """What may start now, the next first.

        By priority; then owners with fewer running jobs before others, so that no
        one's fifty jobs stand before another's first; then the oldest.
        """
        busy = running_by_owner()
        limit = settings.MAX_RUNNING_JOBS_PER_USER
        full = [owner for owner, count in busy.items() if count >= limit]
        own = [When(owner=owner, then=count) for owner, count in busy.items()]
        waiting = self.claimable().exclude(owner__in=full)
        if not own:
            return waiting.order_by("-priority", "created_at")
        turn = Case(*own, default=0, output_field=models.IntegerField())
        return waiting.order_by("-priority", turn, "created_at")

    def unheard(self) -> JobQuerySet:
        """No message is on its way, or none that can still arrive."""
        long_ago = Now() - settings.JOB_REPUBLISH_AFTER
        return self.filter(Q(published_at=None) | Q(published_at__lt=long_ago))

    def lost(self) -> JobQuerySet:
        """Running without a word for a lease, or past the time that a cancel may take.

        A live worker ends a cancelled job itself within the grace time.
        """
        grace = settings.JOB_CANCEL_GRACE + 5 * settings.JOB_CANCEL_POLL
        return self.filter(state=State.RUNNING).filter(
            Q(lease_until__lt=Now()) | Q(cancel_requested_at__lt=Now() - grace)
        )


def running_by_owner() -> dict[Any, int]:
    running = Job.objects.filter(state=State.RUNNING).order_by()
    return dict(running.values_list("owner").annotate(models.Count("pk")))


class Job(models.Model):
    """One accepted piece of background work. States: see `jobs.states`.

    `workers_lost` counts in a row: a checkpoint further than any before ends the row.
    A worker that is to stop, or that lost its database, gives the job back: that counts
    neither way.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    queue = models.CharField(
        max_length=10, choices=[(queue.value, queue.value) for queue in Queue]
    )
    priority = models.SmallIntegerField(default=NORMAL_PRIORITY)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs"
    )
    spec = models.JSONField(default=dict)  # frozen when the job is accepted
    depends_on = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="next"
    )

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    stage = models.CharField(max_length=80, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    epsilon_spent = models.CharField(max_length=40, blank=True)
    result = models.JSONField(default=dict)
    error_code = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)  # safe for users
    trace = models.TextField(blank=True)  # for staff: may hold data

    attempt = models.PositiveIntegerField(default=0)  # the fencing token
    workers_lost = models.PositiveSmallIntegerField(default=0)
    saved_to = models.BigIntegerField(default=0)  # furthest position of a checkpoint
    worker = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    published_at = models.DateTimeField(null=True, db_default=Now())
    request_id = models.CharField(max_length=64, blank=True)  # that asked for the job
    cancel_requested_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)  # the owner's bell

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["state", "queue", "kind"]),
            models.Index(fields=["owner", "state"]),
            models.Index(fields=["-created_at"]),
            models.Index(fields=["finished_at"]),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=State.values), name="job_state_known"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=TERMINAL) | Q(finished_at__isnull=False),
                name="job_ended_has_time",
            ),
            models.CheckConstraint(
                condition=Q(done__lte=F("total")) | Q(total=0),
                name="job_done_within_total",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.state})"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def told_position(self) -> int | None:
        """`saved_to` for people; None of a job whose `spec` calls it secret."""
        return None if self.spec.get("secret_position") else self.saved_to

    @property
    def percent(self) -> int:
        return int(100 * self.done / self.total) if self.total else 0


class Worker(models.Model):
    """A worker process that has said that it lives."""

    name = models.CharField(max_length=120, primary_key=True)
    queues = models.CharField(max_length=80)
    children = models.PositiveSmallIntegerField(default=1)  # jobs at once
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
