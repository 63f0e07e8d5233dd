"""Answers are sealed like their inputs; those of an erased model are erased."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

from privacyhub.governance import keys

_ROWS = 1_000


def seal_outputs(apps: Any, schema_editor: Any) -> None:
    predictions = apps.get_model("deployments", "Prediction").objects
    rows = predictions.select_related("model_version__key").order_by("pk")
    last = None
    while True:
        later = rows if last is None else rows.filter(pk__gt=last)
        some = list(later[:_ROWS])
        if not some:
            return
        last = some[-1].pk
        for row in some:
            row.sealed_output = _sealed(row)
        predictions.bulk_update(some, ["sealed_output"])


def _sealed(row: Any) -> bytes:
    try:
        return keys.seal_json(
            row.output, key=row.model_version.key, context=f"output:{row.pk}"
        )
    except keys.KeyDestroyed:
        return b""


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0002_initial"),
        ("governance", "0001_initial"),
        ("training", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="prediction",
            name="sealed_output",
            field=models.BinaryField(default=b""),
            preserve_default=False,
        ),
        migrations.RunPython(seal_outputs),
        migrations.RemoveField(model_name="prediction", name="output"),
    ]
