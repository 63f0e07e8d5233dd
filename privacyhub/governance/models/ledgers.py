"""A family's account of privacy loss, its reservations and its lines."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from privacyhub.governance.models.data_keys import DataKey
from privacyhub.governance.models.grants import Grant, Right

RELATION = "add/remove"
"""Of neighbouring tables: one has a unit that the other lacks."""


class Unit(models.TextChoices):
    RECORD = "record", "one record"
    KEY = "key", "all records of one unit key"


class LedgerQuerySet(models.QuerySet["Ledger"]):
    def visible_to(self, user: Any) -> LedgerQuerySet:
        """The ledgers of the datasets that the user manages; auditors see all."""
        if user.is_auditor:
            return self
        if not user.is_steward:
            return self.none()
        granted = Grant.objects.held_by(user).filter(right=Right.MANAGE)
        return self.filter(
            Q(versions__dataset__owner=user)
            | Q(versions__dataset__in=granted.values("dataset"))
        ).distinct()


class Ledger(models.Model):
    """A root upload's account of privacy loss.

    Sums are integers in units of 1e-15 at each of the fixed orders, kept as text in
    JSON, since SQLite's NUMERIC is a float. Two running sums are kept: units whose
    coin fell on the training side, and on the held-out side. A charge for all units
    is added to both; each must stay under the cap by itself (parallel composition
    over the coin, whose key is stored here).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    unit = models.CharField(max_length=10, choices=Unit.choices, default=Unit.RECORD)
    unit_key = models.CharField(max_length=200, blank=True)  # column, when unit = key
    most_rows_per_unit = models.PositiveIntegerField(default=1)
    relation = models.CharField(max_length=20, default=RELATION, editable=False)
    declared_units = models.PositiveBigIntegerField(null=True)  # N
    epsilon_cap = models.CharField(max_length=40, blank=True)  # decimal string
    delta_cap = models.CharField(max_length=40, blank=True)
    orders = models.JSONField()  # fixed for the ledger's life
    cap_vector = models.JSONField(default=list)
    spent_train = models.JSONField(default=list)
    spent_heldout = models.JSONField(default=list)
    reserved_train = models.JSONField(default=list)
    reserved_heldout = models.JSONField(default=list)
    spent_delta = models.CharField(max_length=40, default="0")  # units of 1e-15
    reserved_delta = models.CharField(max_length=40, default="0")
    split_key = models.ForeignKey(DataKey, on_delete=models.PROTECT)
    fingerprint = models.CharField(max_length=64, unique=True)
    uncovered_release_at = models.DateTimeField(null=True)
    fixed_at = models.DateTimeField(null=True)  # by the first reservation
    head_exported_at = models.DateTimeField(null=True)  # when its file was first there
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LedgerQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Ledger of {self.name}"

    @property
    def is_declared(self) -> bool:
        return bool(self.declared_units and self.epsilon_cap and self.delta_cap)


class Part(models.TextChoices):
    """Whose loss a charge is: all units, or those of one side of the coin."""

    ALL = "all", "all units"
    TRAIN = "train", "training units"
    HELDOUT = "heldout", "held-out units"


class ReservationState(models.TextChoices):
    RESERVED = "reserved", "Reserved"
    ACTIVE = "active", "Active"
    SETTLED = "settled", "Settled"
    RELEASED = "released", "Released"


class Reservation(models.Model):
    """Budget held before a private read: reserved -> active -> settled, or released."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    ledger = models.ForeignKey(
        Ledger, on_delete=models.PROTECT, related_name="reservations"
    )
    run_id = models.UUIDField()  # the job that will read
    purpose = models.CharField(max_length=40)
    part = models.CharField(max_length=10, choices=Part.choices)
    state = models.CharField(
        max_length=10,
        choices=ReservationState.choices,
        default=ReservationState.RESERVED,
    )
    event = models.JSONField()
    unit = models.CharField(max_length=10, choices=Unit.choices)
    relation = models.CharField(max_length=20)
    vector = models.JSONField()
    delta = models.CharField(max_length=40, default="0")
    charged = models.JSONField()
    charged_delta = models.CharField(max_length=40, default="0")
    epsilon = models.CharField(max_length=40)  # printed, of the whole reservation
    at_delta = models.CharField(max_length=40)
    recipient = models.CharField(max_length=150)
    audience = models.JSONField(default=list)  # others whom the results reach, sorted
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["ledger", "run_id", "purpose"], name="reservation_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.purpose} ({self.state})"

    @property
    def reaches(self) -> list[str]:
        """Each recipient under whose own cap it counts."""
        return [self.recipient, *self.audience]

    @property
    def is_open(self) -> bool:
        return self.state in {ReservationState.RESERVED, ReservationState.ACTIVE}


class EntryKind(models.TextChoices):
    RESERVE = "reserve", "Reserved"
    CHARGE = "charge", "Charged"
    SETTLE = "settle", "Settled"
    RELEASE = "release", "Released"
    SHARED = "shared", "Shared"
    REFUSED = "refused", "Refused"
    CAP = "cap", "Cap set"
    GAP = "gap", "Gap closed"
    UNCOVERED = "uncovered", "Release not covered"
    STEWARD_READ = "steward_read", "Steward-only read"


class LedgerEntry(models.Model):
    """One line of the ledger. Append-only: a correction is a new line.

    Lines of a ledger are numbered from 1 without holes, and each one's hash covers
    the one before. `unit` and `relation` are those that its ledger counted in when the
    line was written; the database refuses a line of others.
    """

    id = models.BigAutoField(primary_key=True)
    ledger = models.ForeignKey(Ledger, on_delete=models.PROTECT, related_name="entries")
    number = models.PositiveBigIntegerField()
    hash = models.CharField(max_length=64)
    at = models.DateTimeField()
    kind = models.CharField(max_length=12, choices=EntryKind.choices)
    part = models.CharField(max_length=10, choices=Part.choices, default=Part.ALL)
    unit = models.CharField(max_length=10, choices=Unit.choices)
    relation = models.CharField(max_length=20)
    actor = models.CharField(max_length=150)
    recipient = models.CharField(max_length=150, blank=True)
    run_id = models.UUIDField(null=True)
    purpose = models.CharField(max_length=40, blank=True)
    event = models.JSONField(null=True)
    vector = models.JSONField(default=list)  # added to the spent sum; see audiences
    delta = models.CharField(max_length=40, default="0")
    epsilon = models.CharField(max_length=40, blank=True)  # printed
    at_delta = models.CharField(max_length=40, blank=True)
    used = models.CharField(max_length=40, blank=True)  # of the cap, after this line
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(
                fields=["ledger", "number"], name="ledger_line_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.purpose}"
