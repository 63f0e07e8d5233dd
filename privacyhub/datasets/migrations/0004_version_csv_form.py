"""A derived version is known again when its CSV comes in as an upload."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("datasets", "0003_version_sketch")]
    operations = [
        migrations.AddField(
            "version",
            "csv_fingerprint",
            models.CharField(blank=True, default="", max_length=64),
        ),
        migrations.AddField("version", "csv_sketch", models.BinaryField(default=b"")),
    ]
