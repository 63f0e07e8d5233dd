"""Which errors of the database say nothing about the job that met them."""

from __future__ import annotations

import sqlite3

from django.db import InterfaceError, InternalError, OperationalError

# SQLSTATE classes: connection, resources, an operator's act, the system; and the
# rollbacks of a deadlock, a serialization failure, a lock that was waited for, or a
# transaction in which its process was silent for long.
_PASSING = ("08", "25P03", "40", "53", "55P03", "57", "58")


def is_outage(error: BaseException | None) -> bool:
    """True for a database that restarts, is busy or broke a deadlock.

    The same work may well succeed later. A table that is missing stays missing, so an
    error that says so is none.
    """
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError | InternalError):
            return _passes(error.__cause__)
        error = error.__cause__ or error.__context__
    return False


def _passes(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    state = getattr(cause, "sqlstate", None)  # None: the connection itself was lost
    return state is None or str(state).startswith(_PASSING)
