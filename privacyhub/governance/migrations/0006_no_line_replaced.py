"""SQLite: no INSERT OR REPLACE takes the place of a line, whichever key it names.

REPLACE deletes every row that shares a unique key with the new one, without telling
the trigger on DELETE. A key is also the rowid, which a table has beside a key that is
not an INTEGER. A later migration that remakes one of these tables makes the triggers
anew by `add_triggers` of this one, after those of 0004.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations

KEYS = {
    "governance_ledgerentry": (("rowid",), ("id",), ("ledger_id", "number")),
    "governance_auditevent": (("rowid",), ("sequence",)),
}
BEFORE = {"governance_ledgerentry": "id", "governance_auditevent": "sequence"}
REFUSE = "BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END"


def add_triggers(apps: Any, schema_editor: Any) -> None:
    for table, keys in KEYS.items():
        taken = " OR ".join(f"({_is_taken(table, key)})" for key in keys)
        _replace_trigger(schema_editor, table, when=taken)


def restore_triggers(apps: Any, schema_editor: Any) -> None:
    for table, key in BEFORE.items():
        known = f"NEW.{key} IN (SELECT {key} FROM {table})"  # noqa: S608
        _replace_trigger(schema_editor, table, when=known)


def _is_taken(table: str, key: tuple[str, ...]) -> str:
    same = " AND ".join(f"{column} = NEW.{column}" for column in key)
    return f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608


def _replace_trigger(schema_editor: Any, table: str, *, when: str) -> None:
    if schema_editor.connection.vendor != "sqlite":
        return
    schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_no_replace")
    schema_editor.execute(
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
        f"WHEN {when} {REFUSE}"
    )


class Migration(migrations.Migration):
    dependencies = [("governance", "0005_unit_and_relation_of_lines")]
    operations = [migrations.RunPython(add_triggers, restore_triggers)]
