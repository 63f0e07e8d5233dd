"""A key's first request has a lease, and says when it took effect."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def mark_open(apps: Any, schema_editor: Any) -> None:
    """Whether those that never answered took effect is not known: they may have."""
    unanswered = apps.get_model("api", "KeptAnswer").objects.filter(status=None)
    unanswered.update(took_effect=True)


class Migration(migrations.Migration):
    dependencies = [("api", "0002_sealed_answers")]

    operations = [
        migrations.AddField(
            "keptanswer", "attempt", models.PositiveIntegerField(default=1)
        ),
        migrations.AddField(
            "keptanswer", "lease_until", models.DateTimeField(null=True)
        ),
        migrations.AddField(
            "keptanswer", "took_effect", models.BooleanField(default=False)
        ),
        migrations.RunPython(mark_open, migrations.RunPython.noop),
    ]
