"""Numbered and hashed ledger lines, caps of recipients, gaps; wider triggers.

SQLite remakes a table that is altered and forgets its triggers, so they are made anew
at the end: also against TRUNCATE (PostgreSQL) and INSERT OR REPLACE (SQLite).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

KEYS = {"governance_ledgerentry": "id", "governance_auditevent": "sequence"}
MESSAGE = "this table is append-only"


def drop_triggers(apps: Any, schema_editor: Any) -> None:
    vendor = schema_editor.connection.vendor
    for table in KEYS:
        on = f" ON {table}" if vendor == "postgresql" else ""
        for action in ("update", "delete", "truncate", "replace"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{action}{on}")


def add_triggers(apps: Any, schema_editor: Any) -> None:
    vendor = schema_editor.connection.vendor
    for table, key in KEYS.items():
        for statement in _create(vendor, table, key):
            schema_editor.execute(statement)


def _create(vendor: str, table: str, key: str) -> list[str]:
    if vendor == "postgresql":
        return [
            f"CREATE TRIGGER {table}_no_{action} BEFORE {action.upper()} ON {table} "
            f"FOR EACH {scope} EXECUTE FUNCTION refuse_change()"
            for action, scope in (
                ("update", "ROW"),
                ("delete", "ROW"),
                ("truncate", "STATEMENT"),
            )
        ]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    # REPLACE deletes the old row without telling the trigger on DELETE.
    return [
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608
        f"WHEN NEW.{key} IN (SELECT {key} FROM {table}) {refuse}",
    ]


def number_lines(apps: Any, schema_editor: Any) -> None:
    """Give the lines that are there their numbers and hashes, ledger by ledger."""
    entries = apps.get_model("governance", "LedgerEntry").objects
    last: dict[Any, tuple[int, str]] = {}
    for entry in entries.order_by("id").iterator(chunk_size=1000):
        number, previous = last.get(entry.ledger_id, (0, "0" * 64))
        number += 1
        line = {
            "ledger": str(entry.ledger_id),
            "number": number,
            "at": entry.at.isoformat(timespec="microseconds"),
            "run_id": str(entry.run_id or ""),
            **{
                name: getattr(entry, name)
                for name in (
                    *("kind", "part", "actor", "recipient", "purpose", "event"),
                    *("vector", "delta", "epsilon", "at_delta", "used", "note"),
                )
            },
        }
        canonical = json.dumps(line, sort_keys=True, separators=(",", ":"))
        found = hashlib.sha256(f"{previous}\n{canonical}".encode()).hexdigest()
        entries.filter(pk=entry.pk).update(number=number, hash=found)
        last[entry.ledger_id] = number, found


USER = settings.AUTH_USER_MODEL


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0003_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(drop_triggers, add_triggers),
        migrations.AddField(
            "ledgerentry", "number", models.PositiveBigIntegerField(default=0)
        ),
        migrations.AddField(
            "ledgerentry", "hash", models.CharField(default="", max_length=64)
        ),
        migrations.RunPython(number_lines, migrations.RunPython.noop),
        migrations.AlterField(
            "ledgerentry", "number", models.PositiveBigIntegerField()
        ),
        migrations.AlterField("ledgerentry", "hash", models.CharField(max_length=64)),
        migrations.AlterField("ledgerentry", "at", models.DateTimeField()),
        migrations.AlterField(
            "ledgerentry",
            "kind",
            models.CharField(
                choices=[
                    ("reserve", "Reserved"),
                    ("charge", "Charged"),
                    ("settle", "Settled"),
                    ("release", "Released"),
                    ("refused", "Refused"),
                    ("cap", "Cap set"),
                    ("gap", "Gap closed"),
                    ("uncovered", "Release not covered"),
                    ("steward_read", "Steward-only read"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            "ledgerentry",
            models.UniqueConstraint(
                fields=("ledger", "number"), name="ledger_line_once"
            ),
        ),
        migrations.AddField(
            "audithead",
            "hub",
            models.UUIDField(default=uuid.uuid4, editable=False),
        ),
        migrations.AddField(
            "audithead", "exported_sequence", models.BigIntegerField(default=0)
        ),
        migrations.AddField(
            "audithead", "exported_at", models.DateTimeField(null=True)
        ),
        migrations.AddField(
            "caprequest", "recipient", models.CharField(blank=True, max_length=150)
        ),
        migrations.CreateModel(
            name="RecipientCap",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("recipient", models.CharField(max_length=150)),
                ("epsilon_cap", models.CharField(max_length=40)),
                ("cap_vector", models.JSONField()),
                ("spent_train", models.JSONField()),
                ("spent_heldout", models.JSONField()),
                ("reserved_train", models.JSONField()),
                ("reserved_heldout", models.JSONField()),
                (
                    "ledger",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="recipient_caps",
                        to="governance.ledger",
                    ),
                ),
            ],
            options={
                "ordering": ["recipient"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("ledger", "recipient"), name="recipient_cap_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LedgerGap",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("heads", models.JSONField()),
                ("lines", models.PositiveBigIntegerField()),
                ("audit_lines", models.PositiveBigIntegerField()),
                ("reason", models.TextField()),
                ("first_at", models.DateTimeField()),
                ("second_at", models.DateTimeField(null=True)),
                (
                    "first_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=USER,
                    ),
                ),
                (
                    "second_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=USER,
                    ),
                ),
            ],
            options={"ordering": ["-first_at"]},
        ),
        migrations.RunPython(add_triggers, drop_triggers),
    ]
