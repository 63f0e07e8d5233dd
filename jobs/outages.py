"""Which errors of database and disk say nothing about the job that met them."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator

from django.db import InterfaceError, InternalError, OperationalError

from jobs.states import JobFailed

# SQLSTATE classes: connection, resources, an operator's act, the system; and the
# rollbacks of a deadlock, a serialization failure, a lock that was waited for, or a
# transaction in which its process was silent for long.
_PASSING = ("08", "25P03", "40", "53", "55P03", "57", "58")
# No space, no quota, and what is larger than a file may be.
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_outage(error: BaseException | None) -> bool:
    """True for a database that restarts, is busy or broke a deadlock.

    The same work may well succeed later. A table that is missing stays missing, so an
    error that says so is none.
    """
    for one in _chain(error):
        if isinstance(one, OperationalError | InterfaceError | InternalError):
            return _passes(one.__cause__)
    return False


def is_full(error: BaseException | None) -> bool:
    """True where the disk, or an embedded database on it, took no more."""
    return any(_has_no_space(one) for one in _chain(error))


def disk_full() -> JobFailed:
    """The end of a job for which there was no space."""
    return JobFailed(
        "The hub's disk is full. Its administrator can make room; then run the job "
        "again.",
        code="disk_full",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _has_no_space(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return _sqlite_code(error) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _passes(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    state = getattr(cause, "sqlstate", None)  # None: the connection itself was lost
    return state is None or str(state).startswith(_PASSING)
