"""The queue as a whole: how deep, how old, how fast, and who works. Reads only.

The number of queries does not depend on the number of jobs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Job, Worker
from jobs.queues import Queue
from jobs.states import OPEN, State

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MOST_WORKERS = 100


@dataclass(frozen=True)
class WorkerState:
    """One worker: how many jobs it may do at once, and does."""

    name: str
    queues: tuple[str, ...]
    children: int
    running: int
    is_alive: bool
    started_at: datetime
    seen_at: datetime


@dataclass
class QueueState:
    """One queue. `waits_for_others` are queued jobs whose turn is after another's."""

    name: str
    queued: int = 0
    waits_for_others: int = 0
    running: int = 0
    stuck: int = 0
    oldest_queued_at: datetime | None = None
    succeeded_hour: int = 0
    failed_hour: int = 0
    cancelled_hour: int = 0
    succeeded_day: int = 0
    failed_day: int = 0
    cancelled_day: int = 0
    workers: int = 0
    children: int = 0

    @property
    def ended_hour(self) -> int:
        return self.succeeded_hour + self.failed_hour + self.cancelled_hour

    @property
    def ended_day(self) -> int:
        return self.succeeded_day + self.failed_day + self.cancelled_day

    @property
    def oldest_wait(self) -> float:
        """Seconds; 0 where nothing waits."""
        if self.oldest_queued_at is None:
            return 0.0
        return max(0.0, (timezone.now() - self.oldest_queued_at).total_seconds())


@dataclass(frozen=True)
class Overview:
    queues: list[QueueState] = field(default_factory=list)
    workers: list[WorkerState] = field(default_factory=list)

    @property
    def alive(self) -> list[WorkerState]:
        return [worker for worker in self.workers if worker.is_alive]


def overview() -> Overview:
    """Every queue and worker as they are now. Four queries."""
    queues = {name.value: QueueState(name.value) for name in Queue}
    for row in _open():
        _set(queues[row.pop("queue")], row)
    for row in _ended():
        _set(queues[row.pop("queue")], row)
    states = workers()
    for worker in states:
        for name in worker.queues if worker.is_alive else ():
            if name in queues:
                queues[name].workers += 1
                queues[name].children += worker.children
    return Overview(queues=list(queues.values()), workers=states)


def workers() -> list[WorkerState]:
    """Those heard of within a day, by name. Two queries."""
    running: dict[str, int] = {}
    names = Job.objects.filter(state=State.RUNNING).values_list("worker", flat=True)
    for child in names.order_by():
        parent = child.rpartition(":")[0]
        running[parent] = running.get(parent, 0) + 1
    alive_since = timezone.now() - settings.JOB_LEASE
    return [
        WorkerState(
            name=worker.name,
            queues=tuple(worker.queues.split(",")),
            children=worker.children,
            running=running.get(worker.name, 0),
            is_alive=worker.seen_at > alive_since,
            started_at=worker.started_at,
            seen_at=worker.seen_at,
        )
        for worker in Worker.objects.order_by("name")[:MOST_WORKERS]
    ]


def _open() -> Any:
    queued, running = Q(state=State.QUEUED), Q(state=State.RUNNING)
    waits = queued & Q(depends_on__isnull=False)
    return (
        Job.objects.filter(state__in=OPEN)
        .order_by()
        .values("queue")
        .annotate(
            queued=Count("pk", filter=queued),
            waits_for_others=Count(
                "pk", filter=waits & ~Q(depends_on__state=State.SUCCEEDED)
            ),
            running=Count("pk", filter=running),
            stuck=Count("pk", filter=running & Q(lease_until__lt=Now())),
            oldest_queued_at=Min("created_at", filter=queued),
        )
    )


def _ended() -> Any:
    hour_ago = timezone.now() - HOUR
    counts = {
        f"{state.value}_{span}": Count("pk", filter=Q(state=state) & within)
        for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED)
        for span, within in (("hour", Q(finished_at__gt=hour_ago)), ("day", Q()))
    }
    ended = Job.objects.filter(finished_at__gt=timezone.now() - DAY)
    return ended.order_by().values("queue").annotate(**counts)


def _set(queue: QueueState, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(queue, name, value)
