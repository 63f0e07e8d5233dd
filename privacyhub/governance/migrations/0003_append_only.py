"""The ledger's lines and the audit trail are insert-only, in the database itself."""

from __future__ import annotations

from typing import Any

from django.db import migrations

TABLES = ("governance_ledgerentry", "governance_auditevent")
MESSAGE = "this table is append-only"


def add_triggers(apps: Any, schema_editor: Any) -> None:
    for table in TABLES:
        for statement in _create(schema_editor.connection.vendor, table):
            schema_editor.execute(statement)


def remove_triggers(apps: Any, schema_editor: Any) -> None:
    vendor = schema_editor.connection.vendor
    for table in TABLES:
        for action in ("update", "delete"):
            on = f" ON {table}" if vendor == "postgresql" else ""
            schema_editor.execute(f"DROP TRIGGER {table}_no_{action}{on}")


def _create(vendor: str, table: str) -> list[str]:
    if vendor == "postgresql":
        function = (
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger AS $$ "
            f"BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$ LANGUAGE plpgsql"
        )
        return [function] + [
            f"CREATE TRIGGER {table}_no_{action} BEFORE {action.upper()} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
            for action in ("update", "delete")
        ]
    return [
        f"CREATE TRIGGER {table}_no_{action} BEFORE {action.upper()} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        for action in ("update", "delete")
    ]


class Migration(migrations.Migration):
    dependencies = [("governance", "0002_initial")]
    operations = [migrations.RunPython(add_triggers, remove_triggers)]
