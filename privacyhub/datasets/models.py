"""Datasets, their versions with columns and lineage, and uploads on their way in."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from privacyhub.governance.models import DataKey, Grant, Ledger, Right


class DatasetQuerySet(models.QuerySet["Dataset"]):
    def visible_to(self, user: Any) -> DatasetQuerySet:
        """A steward's own and what was shared with the user; auditors see all."""
        if user.is_auditor:
            return self
        if user.is_admin:
            return self.none()
        granted = Grant.objects.held_by(user).filter(dataset__isnull=False)
        shared = Q(pk__in=granted.values("dataset"))
        return self.filter(Q(owner=user) | shared if user.is_steward else shared)

    def managed_by(self, user: Any) -> DatasetQuerySet:
        """Those on which the steward may act: own, or granted with `manage`."""
        if not user.is_steward:
            return self.none()
        granted = Grant.objects.held_by(user).filter(right=Right.MANAGE)
        return self.filter(Q(owner=user) | Q(pk__in=granted.values("dataset")))


class Dataset(models.Model):
    """A named table with an owner."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    purpose = models.TextField(blank=True)
    legal_basis = models.CharField(max_length=200, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="datasets"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    erased_at = models.DateTimeField(null=True)

    objects = DatasetQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def latest(self) -> Version | None:
        return self.versions.order_by("-number").first()


class VersionKind(models.TextChoices):
    UPLOADED = "uploaded", "Uploaded"
    CLEANED = "cleaned", "Cleaned"
    CORRECTED = "corrected", "Corrected"
    ANONYMIZED = "anonymized", "Anonymized"
    SYNTHETIC = "synthetic", "Synthetic"


class VersionQuerySet(models.QuerySet["Version"]):
    def visible_to(self, user: Any) -> VersionQuerySet:
        """All of a visible dataset's versions; single ones that were shared."""
        granted = Grant.objects.held_by(user)
        shared = Q(pk__in=granted.filter(version__isnull=False).values("version"))
        if user.is_admin:
            return self.none()
        return self.filter(
            Q(dataset__in=Dataset.objects.visible_to(user).values("pk")) | shared
        )

    def managed_by(self, user: Any) -> VersionQuerySet:
        return self.filter(dataset__in=Dataset.objects.managed_by(user).values("pk"))


class Version(models.Model):
    """An immutable state of a dataset: an encrypted table and what is known of it.

    `sealed_profile` holds values of the data, so it is encrypted like the table.
    A charge on a version goes to each of `ledgers`: those of all its roots.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(
        Dataset, on_delete=models.PROTECT, related_name="versions"
    )
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=12, choices=VersionKind.choices)
    parents = models.ManyToManyField(
        "self", symmetrical=False, related_name="children", blank=True
    )
    ledgers = models.ManyToManyField(Ledger, related_name="versions")
    source_name = models.CharField(max_length=200, blank=True)  # of the uploaded file
    origin = models.JSONField(default=dict)  # how it was made, e.g. a run's id
    rows = models.PositiveBigIntegerField()  # stewards only: sensitive by add/remove
    columns_count = models.PositiveIntegerField()
    size = models.PositiveBigIntegerField()  # bytes on disk
    file = models.CharField(max_length=80)  # name in the table store
    sha256 = models.CharField(max_length=64)  # of the ciphertext
    key = models.ForeignKey(DataKey, on_delete=models.PROTECT, related_name="+")
    fingerprint = models.CharField(max_length=64)
    sketch = models.BinaryField(default=b"")  # of its rows, to know them again
    # Of a derived version, as the upload of its CSV would be typed, where that differs.
    csv_fingerprint = models.CharField(max_length=64, blank=True, default="")
    csv_sketch = models.BinaryField(default=b"")
    sealed_profile = models.BinaryField()
    checks = models.JSONField(default=list)  # what the steward must know of the values
    job_id = models.UUIDField(null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    erased_at = models.DateTimeField(null=True)

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering = ["dataset", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "number"], name="version_number_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    @property
    def target(self) -> Column | None:
        return self.columns.filter(is_target=True).first()


class Role(models.TextChoices):
    IDENTIFIER = "identifier", "Identifier"
    QUASI_IDENTIFIER = "quasi_identifier", "Quasi-identifier"
    SENSITIVE = "sensitive", "Sensitive"
    INSENSITIVE = "insensitive", "Insensitive"


class Column(models.Model):
    """A column of a version: its kind, its role, the domain its steward declares."""

    version = models.ForeignKey(
        Version, on_delete=models.CASCADE, related_name="columns"
    )
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=300)
    kind = models.CharField(max_length=20)  # engines.tables.Kind
    role = models.CharField(max_length=20, choices=Role.choices)
    suggested_role = models.CharField(max_length=20, choices=Role.choices)
    confidence = models.FloatField(default=0)
    reason = models.CharField(max_length=300, blank=True)
    looks_like = models.CharField(max_length=40, blank=True)  # "email", "ZIP code"
    is_target = models.BooleanField(default=False)
    is_unit_key = models.BooleanField(default=False)
    lower = models.FloatField(null=True, blank=True)
    upper = models.FloatField(null=True, blank=True)
    categories = models.JSONField(null=True, blank=True)  # declared, public knowledge

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "name"], name="column_name_once"
            ),
            models.UniqueConstraint(
                fields=["version"], condition=Q(is_target=True), name="one_target"
            ),
            models.UniqueConstraint(
                fields=["version"], condition=Q(is_unit_key=True), name="one_unit_key"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Upload(models.Model):
    """A file as it came in, sealed from its first byte, until it is a version."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    source_name = models.CharField(max_length=200)
    format = models.CharField(max_length=10)
    size = models.PositiveBigIntegerField()
    structure = models.JSONField(default=dict)
    file = models.CharField(max_length=80)
    key = models.ForeignKey(DataKey, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    consumed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.source_name
