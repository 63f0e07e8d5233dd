"""SQLite: no INSERT OR REPLACE takes the place of a report.

REPLACE deletes the row of the same key, without telling the trigger on DELETE. A key is
also the rowid, which a table has beside a key that is not an INTEGER.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations

TABLE = "assessment_report"
NAME = f"{TABLE}_no_replace"


def add_trigger(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        known = " OR ".join(
            f"EXISTS (SELECT 1 FROM {TABLE} WHERE {key} = NEW.{key})"  # noqa: S608
            for key in ("rowid", "id")
        )
        schema_editor.execute(
            f"CREATE TRIGGER {NAME} BEFORE INSERT ON {TABLE} WHEN {known} "
            "BEGIN SELECT RAISE(ABORT, 'a report is never changed'); END"
        )


def remove_trigger(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(f"DROP TRIGGER {NAME}")


class Migration(migrations.Migration):
    dependencies = [("assessment", "0004_group_assessments")]
    operations = [migrations.RunPython(add_trigger, remove_trigger)]
