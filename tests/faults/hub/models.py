"""What a `steps` job publishes. Nothing here hinders a second row: it must not come."""

from __future__ import annotations

from django.db import models


class StepsResult(models.Model):
    """A published artefact: `position` steps, of which `attempt` ran the last."""

    job_id = models.UUIDField()
    attempt = models.PositiveIntegerField()
    position = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        db_table = "faults_result"

    def __str__(self) -> str:
        return self.sha256
