"""The message that wakes a worker, and the Celery app that carries it.

Apart from `jobs.celery`, so that the web process can send without importing what
a worker runs.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import Celery
from django.conf import settings
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

RUN = "jobs.run"
LEAST_LIFE = timedelta(minutes=1)  # a worker may be slow to start

app = Celery("privacyhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery would close the database before and after each task; `jobs.celery` looks to it.
app.conf["CELERY_DB_REUSE_MAX"] = 10_000


def send(*, job_id: str, queue: str) -> bool:
    """True when the broker has the message; without it the reaper sends again.

    It has no priority: what the worker that it wakes takes, the rows decide. It is void
    once the reaper has sent the next one, so that a long wait does not pile them up.
    """
    life = settings.JOB_REPUBLISH_AFTER + max(3 * settings.JOB_REAP_EVERY, LEAST_LIFE)
    try:
        app.send_task(
            RUN,
            args=[job_id, queue],
            queue=queue,
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
