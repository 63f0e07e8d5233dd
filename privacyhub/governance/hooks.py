"""What governance does in the transaction that accepts or ends a job."""

from __future__ import annotations

from jobs.models import Job
from privacyhub.governance import audit, ledger


def job_accepted(job: Job) -> None:
    audit.record(actor=job.owner, action="job.submit", target=job, kind=job.kind)


def job_ended(job: Job) -> None:
    """Settle what the job had reserved; put its end on the trail."""
    ledger.settle(run_id=job.pk)
    audit.record(
        actor=job.owner,
        action=f"job.{job.state}",
        target=job,
        kind=job.kind,
        attempt=job.attempt,
        error_code=job.error_code,
    )
