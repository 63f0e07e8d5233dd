"""The message that wakes a worker, and the Celery app that carries it.

Apart from `jobs.celery`, so that the web process can send without importing what
a worker runs.
"""

from __future__ import annotations

import logging

from celery import Celery
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

RUN = "jobs.run"

app = Celery("privacyhub")
app.config_from_object("django.conf:settings", namespace="CELERY")


def send(*, job_id: str, queue: str, priority: int = 0) -> bool:
    """True when the broker has the message; without it the reaper sends again."""
    try:
        app.send_task(RUN, args=[job_id], queue=queue, priority=priority, retry=False)
    except (OperationalError, OSError):
        logger.warning("the broker took no message for job %s", job_id)
        return False
    return True
