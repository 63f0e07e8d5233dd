"""What was lost is found: jobs without a worker, and messages that never came.

By the database's clock. Every worker's keeper reaps: the writes are conditional.
"""

from __future__ import annotations

import logging
from itertools import takewhile
from typing import Any

from django.db import connection, transaction

from jobs import failpoints
from jobs.models import Job
from jobs.transitions import publish, put_back_lost

logger = logging.getLogger(__name__)

REAPED_AT_ONCE = 500


def reap() -> int:
    """Put back what lost its worker and wake workers for what waits.

    Returns how many messages were sent. Runs by the database's clock. A job that
    cannot be put back does not keep the others; a broker that does not answer is not
    asked again in this round.
    """
    for pk in list(Job.objects.lost().values_list("pk", flat=True)):
        try:
            _reap_lost(pk)
        except Exception:
            logger.exception("job %s lost its worker and could not be put back", pk)
            if not connection.is_usable():
                raise
    waiting = list(Job.objects.in_turn().unheard()[:REAPED_AT_ONCE])
    sent = takewhile(bool, (publish(job=job) for job in waiting))
    return sum(sent)


def _reap_lost(pk: Any) -> None:
    with transaction.atomic():
        # A halted process may hold the row's lock: the others' jobs do not wait for it.
        lost = Job.objects.lost().select_for_update(skip_locked=True).filter(pk=pk)
        row = lost.first()
        if row is None:
            return
        failpoints.reach("reap.locked")
        put_back_lost(row)
        failpoints.reach("reap.in_transaction")
    failpoints.reach("reap.committed")
