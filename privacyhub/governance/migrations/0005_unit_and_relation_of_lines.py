"""Each ledger line says its unit and relation; the database refuses those of others.

SQLite remakes a table that is altered and forgets its triggers, so they are made anew
at the end. A later migration that remakes the ledger's own table drops this one first:
its trigger names that table.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.db import migrations, models

_before = import_module("privacyhub.governance.migrations.0004_heads_gaps_recipients")

TRIGGER = "governance_ledgerentry_own_terms"
MESSAGE = "this line is of another unit or relation than its ledger"
IS_OF_THE_LEDGER = (
    "EXISTS (SELECT 1 FROM governance_ledger WHERE id = NEW.ledger_id "
    "AND unit = NEW.unit AND relation = NEW.relation)"
)


def add_trigger(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE OR REPLACE FUNCTION refuse_other_terms() RETURNS trigger AS $$ "
            f"BEGIN IF NOT {IS_OF_THE_LEDGER} THEN RAISE EXCEPTION '{MESSAGE}'; "
            "END IF; RETURN NEW; END $$ LANGUAGE plpgsql"
        )
        schema_editor.execute(
            f"CREATE TRIGGER {TRIGGER} BEFORE INSERT ON governance_ledgerentry "
            "FOR EACH ROW EXECUTE FUNCTION refuse_other_terms()"
        )
    else:
        schema_editor.execute(
            f"CREATE TRIGGER {TRIGGER} BEFORE INSERT ON governance_ledgerentry "
            f"WHEN NOT {IS_OF_THE_LEDGER} "
            f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )


def drop_trigger(apps: Any, schema_editor: Any) -> None:
    on = " ON governance_ledgerentry"
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    schema_editor.execute(f"DROP TRIGGER {TRIGGER}{on if is_postgresql else ''}")


def fill_lines(apps: Any, schema_editor: Any) -> None:
    """A ledger's unit and relation are fixed by its first amount: all are of these."""
    entries = apps.get_model("governance", "LedgerEntry").objects
    for row in apps.get_model("governance", "Ledger").objects.iterator():
        entries.filter(ledger=row).update(unit=row.unit, relation=row.relation)


UNITS = [("record", "one record"), ("key", "all records of one unit key")]


class Migration(migrations.Migration):
    dependencies = [("governance", "0004_heads_gaps_recipients")]

    operations = [
        migrations.RunPython(_before.drop_triggers, _before.add_triggers),
        migrations.AddField(
            "ledgerentry",
            "unit",
            models.CharField(choices=UNITS, default="", max_length=10),
            preserve_default=False,
        ),
        migrations.AddField(
            "ledgerentry",
            "relation",
            models.CharField(default="", max_length=20),
            preserve_default=False,
        ),
        migrations.RunPython(fill_lines, migrations.RunPython.noop),
        migrations.RunPython(_before.add_triggers, _before.drop_triggers),
        migrations.RunPython(add_trigger, drop_trigger),
    ]
