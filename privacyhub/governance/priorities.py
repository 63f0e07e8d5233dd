"""Whose job goes first: set by those who answer for the queue, and on record."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from jobs import services as jobs
from jobs.models import LEAST_PRIORITY, MOST_PRIORITY, Job
from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.governance import audit


def may_set_priority(*, job: Job, by: Any) -> bool:
    """Administrators of every job, stewards of their own."""
    if by.is_admin:
        return True
    return bool(by.may(Permission.MANAGE_DATA) and job.owner_id == by.pk)


@transaction.atomic
def set_priority(*, job: Job, priority: int, by: Any) -> Job:
    """Raise or lower a queued job, from LEAST_PRIORITY to MOST_PRIORITY.

    Raises NotAllowed, or NotQueued once it has started.
    """
    if not may_set_priority(job=job, by=by):
        raise NotAllowed
    if not LEAST_PRIORITY <= priority <= MOST_PRIORITY:
        raise ValueError(f"a priority of {priority}")
    before = job.priority
    row = jobs.set_priority(job=job, priority=priority)
    audit.record(
        actor=by, action="job.priority", target=row, before=before, priority=priority
    )
    return row
