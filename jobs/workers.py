"""Workers' signs of life: who is there to work. What they do is in `execution`."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from jobs.models import Worker

WORKERS_KEPT = timedelta(days=1)


def say_that_it_lives(*, name: str, queues: str, children: int = 1) -> None:
    """A worker's sign of life; those that are silent for a day are forgotten."""
    told = {"queues": queues[:80], "children": children}
    Worker.objects.update_or_create(name=name, defaults=told)
    Worker.objects.filter(seen_at__lt=timezone.now() - WORKERS_KEPT).delete()


def say_goodbye(*, name: str) -> None:
    Worker.objects.filter(name=name).delete()
