"""What governance does in the transactions that accept, start, cancel or end a job."""

from __future__ import annotations

from typing import Any

from jobs.models import Job
from jobs.states import JobFailed
from privacyhub.accounts.roles import Permission
from privacyhub.governance import audit, entries, ledger
from privacyhub.governance.models import Ledger

# Of these an analyst may be the owner too: they use a model, and change no data.
OPEN_TO_ALL = frozenset({"nothing", "predict", "export"})


def job_accepted(job: Job) -> None:
    audit.record(actor=job.owner, action="job.submit", target=job, kind=job.kind)


def job_starting(job: Job) -> None:
    """What the owner was allowed when the job was queued may be withdrawn since."""
    owner: Any = job.owner
    allowed = owner.is_active and (
        job.kind in OPEN_TO_ALL or owner.may(Permission.MANAGE_DATA)
    )
    if not allowed:
        raise JobFailed("Its owner may no longer do this.", code="not_allowed")


def job_finishing(job: Job) -> None:
    _lock_ledgers(job)


def _lock_ledgers(job: Job) -> None:
    """Take the ledgers' row locks now: before the audit trail's head, as ever."""
    dataset = job.spec.get("dataset")
    if dataset:
        entries.locked(Ledger.objects.filter(versions__dataset=dataset))


def cancel_asked(job: Job, by: Any) -> None:
    _lock_ledgers(job)
    audit.record(actor=by, action="job.cancel", target=job, kind=job.kind)


def job_ended(job: Job) -> None:
    """Settle what the job had reserved; put its end on the trail.

    Jobs that wait for this one end after it, with reservations on the same ledgers.
    """
    _lock_ledgers(job)
    ledger.settle(run_id=job.pk)
    audit.record(
        actor=job.owner,
        action=f"job.{job.state}",
        target=job,
        kind=job.kind,
        attempt=job.attempt,
        error_code=job.error_code,
    )
