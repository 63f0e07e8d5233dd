"""How a worker's children learn that it is to stop: a few bytes that they share.

The parent maps them before it forks, so a child that it starts later sees them too.
They hold when the stop was asked for, by the clock that all processes of a machine
share. A drained worker claims nothing more; a job that is still at work after
`JOB_DRAIN` is given back, for another worker to go on with at once.
"""

from __future__ import annotations

import mmap
import struct
import time

_ASKED_AT = struct.Struct("d")
_shared = mmap.mmap(-1, mmap.PAGESIZE)


def begin() -> None:
    """Stop after the jobs at work. Safe in a signal's handler; later calls change
    nothing."""
    if not is_asked():
        _ASKED_AT.pack_into(_shared, 0, time.monotonic())


def is_asked() -> bool:
    return _ASKED_AT.unpack_from(_shared)[0] > 0


def seconds_since() -> float:
    """How long ago the stop was asked for; 0 where it was not."""
    asked_at: float = _ASKED_AT.unpack_from(_shared)[0]
    return time.monotonic() - asked_at if asked_at else 0.0


def forget() -> None:
    """As if nothing had been asked, for tests."""
    _ASKED_AT.pack_into(_shared, 0, 0.0)
