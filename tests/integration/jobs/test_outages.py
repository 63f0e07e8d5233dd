"""Which errors of the database give a job back, and which are its own."""

from __future__ import annotations

import sqlite3

import pytest
from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    utils,
)
from psycopg import errors

from jobs.outages import is_outage


@pytest.mark.parametrize(
    ("raised", "cause", "expected"),
    [
        (OperationalError, errors.AdminShutdown, True),
        (OperationalError, errors.DeadlockDetected, True),
        (InternalError, errors.IdleInTransactionSessionTimeout, True),
        (InternalError, errors.InFailedSqlTransaction, False),
        (InterfaceError, errors.InterfaceError, True),  # the connection was lost
        (ProgrammingError, errors.UndefinedTable, False),
        (OperationalError, sqlite3.OperationalError, False),  # such as a missing table
    ],
)
def test_an_outage_says_nothing_about_the_job(
    raised: type[utils.Error], cause: type[Exception], expected: bool
) -> None:
    error = raised()
    error.__cause__ = cause()
    wrapped = ValueError()
    wrapped.__context__ = error
    assert is_outage(error) is expected
    assert is_outage(wrapped) is expected
