"""The queues, how long a lease lasts and how often it is renewed."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class Queue(StrEnum):
    LIGHT = "light"
    DATA = "data"
    TRAIN = "train"


LEASE = timedelta(seconds=60)
HEARTBEAT = timedelta(seconds=15)
CANCEL_POLL = timedelta(seconds=1)
CANCEL_GRACE = timedelta(seconds=20)  # then the worker's child is ended
REAP_EVERY = timedelta(seconds=30)
REPUBLISH_AFTER = timedelta(seconds=30)
LOST_WORKERS_LIMIT = 3
MAX_RUN_TIME = timedelta(hours=12)
