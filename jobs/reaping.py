"""What was lost is found: jobs without a worker, and messages that never came.

By the database's clock. Every worker's keeper reaps, and every web worker reaps what is
lost: the writes are conditional.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

from django.db import Error, connection, transaction

from jobs import failpoints
from jobs.models import Job
from jobs.transitions import publish, put_back_lost

logger = logging.getLogger(__name__)

REAPED_AT_ONCE = 500


@contextmanager
def in_a_round(*, of: str) -> Iterator[None]:
    """What is done again every few seconds, so that an error waits for the next round.

    The error is logged, and the connection closed: the next round has a fresh one.
    """
    try:
        yield
    except Error:
        logger.warning("the database did not answer the %s", of, exc_info=True)
    except Exception:
        logger.exception("a round of the %s broke", of)
    finally:
        connection.close()


def reap() -> int:
    """Put back what lost its worker and wake workers for what waits.

    Returns how many messages were sent. A broker that does not answer is not asked
    again in this round.
    """
    reap_lost()
    waiting = list(Job.objects.in_turn().unheard()[:REAPED_AT_ONCE])
    sent = takewhile(bool, (publish(job=job) for job in waiting))
    return sum(sent)


def reap_lost() -> None:
    """Put back, or end, what lost its worker.

    A job for which that cannot be done does not keep the others.
    """
    for pk in list(Job.objects.lost().values_list("pk", flat=True)):
        try:
            _reap_one(pk)
        except Exception:
            logger.exception("job %s lost its worker and could not be put back", pk)
            if not connection.is_usable():
                raise


def _reap_one(pk: Any) -> None:
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
