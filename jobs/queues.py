"""Queues by what a job needs. How long leases last is in the settings (JOB_*)."""

from __future__ import annotations

from enum import StrEnum


class Queue(StrEnum):
    LIGHT = "light"
    DATA = "data"
    TRAIN = "train"
