"""Lines are numbered, and the database itself refuses to change them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from privacyhub.governance.models import Ledger
from privacyhub.governance.verification import verify

from .conftest import price, reserve

TABLES = {"governance_ledgerentry": "id", "governance_auditevent": "sequence"}


def _is_refused(statement: str) -> None:
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM {}",
        "UPDATE {} SET actor = 'nobody'",
        "UPDATE {} SET hash = hash",
        "DELETE FROM {} WHERE actor = 'steward'",
    ],
)
def test_the_database_refuses_to_change_history(
    account: Ledger, table: str, statement: str
) -> None:
    _is_refused(statement.format(table))


@pytest.mark.parametrize("table", TABLES)
def test_the_database_refuses_to_empty_or_replace_history(
    account: Ledger, table: str
) -> None:
    if connection.vendor == "postgresql":
        connection.check_constraints()  # else what waits for the commit refuses
        _is_refused(f"TRUNCATE {table} CASCADE")
        return
    key = TABLES[table]
    for verb in ("INSERT OR REPLACE", "REPLACE"):
        copy = "{} INTO {} SELECT * FROM {} WHERE {} = 1"
        _is_refused(copy.format(verb, table, table, key))
    change = "UPDATE OR REPLACE {} SET {} = 1"
    _is_refused(change.format(table, key))


def test_lines_are_numbered_from_one_without_holes(
    account: Ledger, open_ledger: Any, steward: Any
) -> None:
    other = open_ledger("other")
    for row in (account, other, account):
        reserve(row, steward, uuid.uuid4(), price(1))
    for row, lines in ((account, 3), (other, 2)):
        numbers = row.entries.order_by("number").values_list("number", flat=True)
        assert list(numbers) == list(range(1, lines + 1))
    assert verify().holds
