"""Mail to those who asked for it when a job of theirs has ended."""

from __future__ import annotations

import logging
from typing import Any

from django.core.mail import send_mail
from django.db import transaction

from jobs.models import Job

logger = logging.getLogger(__name__)


def job_ended(job: Job) -> None:
    """After the commit; a mail server that is away never touches the job."""
    owner: Any = job.owner
    if owner.notify_by_mail and owner.email:
        transaction.on_commit(lambda: _send(job, owner.email))


def _send(job: Job, address: str) -> None:
    """Only the job's id and state: a title may name what nobody else should read."""
    try:
        send_mail(
            f"Your job {job.state}",
            f"The job {job.pk} ({job.kind}) {job.state}.\n\nSign in to see it.\n",
            None,
            [address],
        )
    except OSError:  # smtplib's errors are OSErrors too
        logger.warning("no mail about job %s could be sent", job.pk)
