"""Lines are numbered, and the database itself refuses to change them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Model

from privacyhub.governance.models import AuditEvent, Ledger, LedgerEntry
from privacyhub.governance.verification import verify

from .conftest import price, reserve

TABLES = {"governance_ledgerentry": "id", "governance_auditevent": "sequence"}
MODELS: dict[str, type[Model]] = {
    "governance_ledgerentry": LedgerEntry,
    "governance_auditevent": AuditEvent,
}
KEYS = [
    ("governance_ledgerentry", ("id",)),
    ("governance_ledgerentry", ("ledger_id", "number")),
    ("governance_auditevent", ("sequence",)),
]


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


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_no_unique_key_of_a_line_lets_another_take_its_place(
    account: Ledger, table: str, key: tuple[str, ...]
) -> None:
    """Another line with this key, and all other keys free."""
    if connection.vendor == "postgresql":
        _is_refused(
            f"{_copy_of_the_first(table, keep=key)} "
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET actor = 'nobody'"
        )
        return
    _is_refused(_copy_of_the_first(table, keep=key, verb="INSERT OR REPLACE"))


@pytest.mark.parametrize("table", TABLES)
def test_no_rowid_of_a_line_lets_another_take_its_place(
    account: Ledger, table: str
) -> None:
    """SQLite has one beside a key that is not an INTEGER."""
    if connection.vendor != "sqlite":
        return
    for name in ("rowid", "oid", "_rowid_"):
        verb = "INSERT OR REPLACE"
        _is_refused(_copy_of_the_first(table, keep=(), verb=verb, rowid=name))


@pytest.mark.parametrize("table", TABLES)
def test_every_unique_key_is_tried(account: Ledger, table: str) -> None:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table).values()
    unique = {
        tuple(one["columns"]) for one in found if one["unique"] or one["primary_key"]
    }
    assert unique == {key for name, key in KEYS if name == table}


def _copy_of_the_first(
    table: str, *, keep: tuple[str, ...], verb: str = "INSERT", rowid: str = ""
) -> str:
    """The statement that adds the first line again, with other numbers of its own.

    Those of the key `keep` stay. rowid: a name of SQLite's, to have that of the first.
    """
    values = {field.column: field.column for field in MODELS[table]._meta.local_fields}
    values |= {name: "999" for name in {"number", "sequence"} & {*values} - {*keep}}
    if "id" not in keep:
        values.pop("id", None)
    if rowid:
        values[rowid] = rowid
    return (
        f"{verb} INTO {table} ({', '.join(values)}) "  # noqa: S608
        f"SELECT {', '.join(values.values())} FROM {table} "
        f"ORDER BY {TABLES[table]} LIMIT 1"
    )


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
