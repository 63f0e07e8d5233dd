"""The audit trail: its lines and its end."""

from __future__ import annotations

import uuid

from django.db import models


class AuditEvent(models.Model):
    """One thing that somebody did. Insert-only, and each row hashes the one before.

    Objects are named by type and id, without foreign keys: a deletion is never
    blocked by history and never erases it.
    """

    sequence = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor_id = models.CharField(max_length=40, blank=True)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=40, blank=True)
    detail = models.JSONField(default=dict)
    canonical = models.TextField()  # the exact text that was hashed
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-sequence"]
        indexes = [
            models.Index(fields=["object_type", "object_id"]),
            models.Index(fields=["action"]),
            models.Index(fields=["at"]),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action}"


class AuditHead(models.Model):
    """The end of the chain; its row lock makes writers queue.

    `hub` names this database for as long as it lives, also in its backups: what was
    exported of it is found again under that name.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)
    hub = models.UUIDField(default=uuid.uuid4, editable=False)
    exported_sequence = models.BigIntegerField(default=0)
    exported_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"audit head at {self.sequence}"
