"""Caps of recipients, and wishes for higher ones."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from privacyhub.governance.models.ledgers import Ledger


class RecipientCap(models.Model):
    """The most of a ledger that may be spent for one recipient, beneath its cap.

    Its running sums are those of the reservations that reach the recipient, of the
    same form as the ledger's. They are written under the ledger's row lock.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    ledger = models.ForeignKey(
        Ledger, on_delete=models.PROTECT, related_name="recipient_caps"
    )
    recipient = models.CharField(max_length=150)
    epsilon_cap = models.CharField(max_length=40)
    cap_vector = models.JSONField()
    spent_train = models.JSONField()
    spent_heldout = models.JSONField()
    reserved_train = models.JSONField()
    reserved_heldout = models.JSONField()

    class Meta:
        ordering = ["recipient"]
        constraints = [
            models.UniqueConstraint(
                fields=["ledger", "recipient"], name="recipient_cap_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.epsilon_cap} for {self.recipient}"


class CapRequest(models.Model):
    """A wish to raise a cap, decided by a second person.

    `recipient` names whose cap is meant; empty means the ledger's own.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    ledger = models.ForeignKey(
        Ledger, on_delete=models.PROTECT, related_name="cap_requests"
    )
    recipient = models.CharField(max_length=150, blank=True)
    epsilon_cap = models.CharField(max_length=40)
    reason = models.TextField()
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    approved = models.BooleanField(null=True)

    class Meta:
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return f"raise to {self.epsilon_cap}"
