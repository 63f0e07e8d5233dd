"""A job: the database row is the truth, a broker's message only wakes a worker."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from jobs.queues import Queue
from jobs.states import OPEN, TERMINAL, State


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
        done = Job.objects.filter(state=State.SUCCEEDED)
        return self.filter(state=State.QUEUED, cancel_requested_at=None).filter(
            Q(depends_on=None) | Q(depends_on__in=done.values("pk"))
        )


class Job(models.Model):
    """One accepted piece of background work. States: see `jobs.states`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    queue = models.CharField(
        max_length=10, choices=[(queue.value, queue.value) for queue in Queue]
    )
    priority = models.SmallIntegerField(default=0)
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
    worker = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    published_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)  # the owner's bell

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["state", "queue"]),
            models.Index(fields=["owner", "state"]),
            models.Index(fields=["-created_at"]),
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
    def percent(self) -> int:
        return int(100 * self.done / self.total) if self.total else 0


class Worker(models.Model):
    """A worker process that has said that it lives."""

    name = models.CharField(max_length=120, primary_key=True)
    queues = models.CharField(max_length=80)
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
