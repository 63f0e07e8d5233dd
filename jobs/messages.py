"""The message that wakes a worker, and the Celery app that carries it.

Apart from `jobs.celery`, so that the web process can send without importing what
a worker runs.
"""

from __future__ import annotations

import logging

from celery import Celery
from django.conf import settings
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

RUN = "jobs.run"
_MOST_URGENT = 9  # of a job; Redis counts the other way

app = Celery("privacyhub")
app.config_from_object("django.conf:settings", namespace="CELERY")


def send(*, job_id: str, queue: str, priority: int = 0) -> bool:
    """True when the broker has the message; without it the reaper sends again.

    A message is void once the reaper has sent the next one, so that a long wait
    does not pile them up.
    """
    life = settings.JOB_REPUBLISH_AFTER + 3 * settings.JOB_REAP_EVERY
    try:
        app.send_task(
            RUN,
            args=[str(job_id)],
            queue=queue,
            priority=_MOST_URGENT - max(0, min(_MOST_URGENT, priority)),
            expires=life.total_seconds(),
            retry=False,
        )
    except (OperationalError, OSError):
        logger.warning("the broker took no message for job %s", job_id)
        return False
    return True


def broker_answers() -> bool:
    """Whether the broker can be reached; waits two seconds at most."""
    try:
        with app.connection_for_write(connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
    except (OperationalError, OSError):
        return False
    return True
