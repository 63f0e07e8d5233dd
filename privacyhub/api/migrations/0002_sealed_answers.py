"""Kept answers are sealed. Those of before, kept for a day at most, are dropped."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def drop_answers(apps: Any, schema_editor: Any) -> None:
    apps.get_model("api", "KeptAnswer").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("api", "0001_initial")]

    operations = [
        migrations.RunPython(drop_answers),
        migrations.RemoveField(model_name="keptanswer", name="body"),
        migrations.AddField(
            model_name="keptanswer",
            name="sealed_body",
            field=models.BinaryField(null=True),
        ),
    ]
