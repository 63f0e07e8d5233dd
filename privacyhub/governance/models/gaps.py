"""Lines that a restore has lost, and the two people who know of it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class LedgerGap(models.Model):
    """Between a database that was restored and the heads that it once exported.

    Open until a second person acknowledges it; only then do ledgers reserve again.
    `heads` are the signed heads that the database does not reach, as they were read:
    the audit trail's and those of ledgers.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    heads = models.JSONField()
    lines = models.PositiveBigIntegerField()  # of ledgers, lost
    audit_lines = models.PositiveBigIntegerField()
    reason = models.TextField()
    first_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    first_at = models.DateTimeField()
    second_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    second_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-first_at"]

    def __str__(self) -> str:
        return f"gap of {self.lines} lines"
