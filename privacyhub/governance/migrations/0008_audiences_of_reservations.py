"""Reservations name others whom their results reach; a new kind of line tells it."""

from __future__ import annotations

from django.db import migrations, models

KINDS = [
    ("reserve", "Reserved"),
    ("charge", "Charged"),
    ("settle", "Settled"),
    ("release", "Released"),
    ("shared", "Shared"),
    ("refused", "Refused"),
    ("cap", "Cap set"),
    ("gap", "Gap closed"),
    ("uncovered", "Release not covered"),
    ("steward_read", "Steward-only read"),
]


class Migration(migrations.Migration):
    dependencies = [("governance", "0007_head_exported")]

    operations = [
        migrations.AddField("reservation", "audience", models.JSONField(default=list)),
        migrations.AlterField(
            "ledgerentry", "kind", models.CharField(choices=KINDS, max_length=12)
        ),
    ]
