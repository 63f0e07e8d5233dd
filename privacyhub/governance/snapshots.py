"""One view of the database for many reads, which keeps nobody from writing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

_ONE_VIEW = "ISOLATION LEVEL REPEATABLE READ READ ONLY"


@contextmanager
def snapshot() -> Iterator[None]:
    """All reads within see the database as it was at the first of them.

    Nothing is to be written within. Inside a transaction that is open already its own
    view goes on: on SQLite that is one too, on PostgreSQL it is what it was begun as.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "sqlite":
        with _deferred():
            yield
    else:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET TRANSACTION {_ONE_VIEW}")
            yield


@contextmanager
def _deferred() -> Iterator[None]:
    """SQLite's transaction without the write lock that the hub's others begin with.

    With a write-ahead log, which its connections ask for, writers go on meanwhile.
    """
    connection.ensure_connection()
    used: Any = connection
    before, used.transaction_mode = used.transaction_mode, "DEFERRED"
    try:
        with transaction.atomic():
            used.transaction_mode = before
            yield
    finally:
        used.transaction_mode = before
