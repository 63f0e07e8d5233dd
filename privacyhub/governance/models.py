"""The audit trail, data keys, grants and the privacy ledger."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


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
    """The end of the chain; its row lock makes writers queue."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return f"audit head at {self.sequence}"


class DataKey(models.Model):
    """A file's key, wrapped by the key-encryption key that is not in this database.

    Destroying the wrapped key erases every copy of what it protects.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    purpose = models.CharField(max_length=40)
    kek = models.CharField(max_length=40)
    wrapped = models.BinaryField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(destroyed_at=None) | Q(wrapped=None),
                name="destroyed_key_is_gone",
            )
        ]

    def __str__(self) -> str:
        return f"{self.purpose} key {self.id}"


class Right(models.TextChoices):
    VIEW = "view", "View"
    USE = "use", "Use"
    MANAGE = "manage", "Manage"


class GrantQuerySet(models.QuerySet["Grant"]):
    def live(self) -> GrantQuerySet:
        now = timezone.now()
        return self.filter(revoked_at=None).filter(
            Q(expires_at=None) | Q(expires_at__gt=now)
        )

    def held_by(self, user: Any) -> GrantQuerySet:
        return self.live().filter(Q(user=user) | Q(group__user=user))


class Grant(models.Model):
    """A right on one object, given to a user or a group."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    group = models.ForeignKey(
        "auth.Group", null=True, blank=True, on_delete=models.CASCADE
    )
    right = models.CharField(max_length=10, choices=Right.choices)
    dataset = models.ForeignKey(
        "datasets.Dataset",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    version = models.ForeignKey(
        "datasets.Version",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    model = models.ForeignKey(
        "training.Model",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    report = models.ForeignKey(
        "assessment.Report",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    given_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="grants_given"
    )
    given_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True)

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["given_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None, group__isnull=False)
                | Q(user__isnull=False, group=None),
                name="grant_to_user_or_group",
            )
        ]

    def __str__(self) -> str:
        return f"{self.right} to {self.user or self.group}"


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
    relation = models.CharField(max_length=20, default="add/remove", editable=False)
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


class EntryKind(models.TextChoices):
    RESERVE = "reserve", "Reserved"
    CHARGE = "charge", "Charged"
    SETTLE = "settle", "Settled"
    RELEASE = "release", "Released"
    REFUSED = "refused", "Refused"
    CAP = "cap", "Cap set"
    UNCOVERED = "uncovered", "Release not covered"
    STEWARD_READ = "steward_read", "Steward-only read"


class LedgerEntry(models.Model):
    """One line of the ledger. Append-only: a correction is a new line."""

    id = models.BigAutoField(primary_key=True)
    ledger = models.ForeignKey(Ledger, on_delete=models.PROTECT, related_name="entries")
    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=12, choices=EntryKind.choices)
    part = models.CharField(max_length=10, choices=Part.choices, default=Part.ALL)
    actor = models.CharField(max_length=150)
    recipient = models.CharField(max_length=150, blank=True)
    run_id = models.UUIDField(null=True)
    purpose = models.CharField(max_length=40, blank=True)
    event = models.JSONField(null=True)
    vector = models.JSONField(default=list)  # what this line adds to the spent sum
    delta = models.CharField(max_length=40, default="0")
    epsilon = models.CharField(max_length=40, blank=True)  # printed
    at_delta = models.CharField(max_length=40, blank=True)
    used = models.CharField(max_length=40, blank=True)  # of the cap, after this line
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return f"{self.kind} {self.purpose}"


class CapRequest(models.Model):
    """A wish to raise a cap, decided by a second person."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    ledger = models.ForeignKey(
        Ledger, on_delete=models.PROTECT, related_name="cap_requests"
    )
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
