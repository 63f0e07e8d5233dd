"""A report is written once and signed once, in the database itself."""

from __future__ import annotations

from typing import Any

from django.db import migrations

TABLE = "assessment_report"
FROZEN = (
    "id",
    "title",
    "content",
    "sha256",
    "model_version_id",
    "version_id",
    "created_by_id",
    "created_at",
)
MESSAGE = "a report is never changed"


def add_triggers(apps: Any, schema_editor: Any) -> None:
    vendor = schema_editor.connection.vendor
    for statement in _postgresql() if vendor == "postgresql" else _sqlite():
        schema_editor.execute(statement)


def remove_triggers(apps: Any, schema_editor: Any) -> None:
    on = f" ON {TABLE}" if schema_editor.connection.vendor == "postgresql" else ""
    for action in ("update", "delete"):
        schema_editor.execute(f"DROP TRIGGER {TABLE}_no_{action}{on}")


def _changed(differs: str) -> str:
    return " OR ".join(
        [
            "OLD.signed_at IS NOT NULL",
            *(f"OLD.{name} {differs} NEW.{name}" for name in FROZEN),
        ]
    )


def _postgresql() -> list[str]:
    return [
        "CREATE OR REPLACE FUNCTION refuse_report_change() RETURNS trigger AS $$ "
        f"BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$ LANGUAGE plpgsql",
        f"CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} FOR EACH ROW "
        f"WHEN ({_changed('IS DISTINCT FROM')}) EXECUTE FUNCTION refuse_report_change()",
        f"CREATE TRIGGER {TABLE}_no_delete BEFORE DELETE ON {TABLE} FOR EACH ROW "
        "EXECUTE FUNCTION refuse_report_change()",
    ]


def _sqlite() -> list[str]:
    stop = f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    return [
        f"CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} WHEN {_changed('IS NOT')} {stop}",
        f"CREATE TRIGGER {TABLE}_no_delete BEFORE DELETE ON {TABLE} {stop}",
    ]


class Migration(migrations.Migration):
    dependencies = [("assessment", "0002_initial")]
    operations = [migrations.RunPython(add_triggers, remove_triggers)]
