"""Each ledger says that a head of it was exported: one that is gone is missed.

The column may be empty, so that SQLite adds it without remaking the table that the
lines' own trigger names (see 0005).
"""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("governance", "0006_no_line_replaced")]
    operations = [
        migrations.AddField(
            "ledger", "head_exported_at", models.DateTimeField(null=True)
        )
    ]
