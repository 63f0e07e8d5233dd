"""Anonymization runs and the hierarchies that stewards upload."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models

from jobs.models import Job
from privacyhub.datasets.models import Version
from privacyhub.governance.models import DataKey


class HierarchyQuerySet(models.QuerySet["Hierarchy"]):
    def visible_to(self, user: Any) -> HierarchyQuerySet:
        return self if user.is_auditor else self.filter(owner=user)


class Hierarchy(models.Model):
    """A value hierarchy in ARX's CSV format, sealed: it lists a column's values."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="hierarchies"
    )
    levels = models.PositiveSmallIntegerField()
    values_count = models.PositiveIntegerField()
    key = models.ForeignKey(DataKey, on_delete=models.PROTECT, related_name="+")
    sealed_csv = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = HierarchyQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "hierarchies"

    def __str__(self) -> str:
        return self.name


class PolicyTemplateQuerySet(models.QuerySet["PolicyTemplate"]):
    def visible_to(self, user: Any) -> PolicyTemplateQuerySet:
        return self if user.is_auditor else self.filter(owner=user)


class PolicyTemplate(models.Model):
    """A policy that was kept under a name, to be applied to other datasets."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    policy = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PolicyTemplateQuerySet.as_manager()

    class Meta:
        ordering = ["name", "created_at"]

    def __str__(self) -> str:
        return self.name


class PseudonymDomainQuerySet(models.QuerySet["PseudonymDomain"]):
    def visible_to(self, user: Any) -> PseudonymDomainQuerySet:
        return self if user.is_auditor else self.filter(owner=user)


class PseudonymDomain(models.Model):
    """What pseudonyms stand for ("patient"), and the key that makes them.

    Columns of one domain of one steward can be joined across tables for as long as
    the key lives.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    key = models.ForeignKey(DataKey, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    destroyed_at = models.DateTimeField(null=True)

    objects = PseudonymDomainQuerySet.as_manager()

    class Meta:
        ordering = ["name", "created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                condition=models.Q(destroyed_at=None),
                name="one_living_pseudonym_domain",
            )
        ]

    def __str__(self) -> str:
        return self.name


class AnonymizationRunQuerySet(models.QuerySet["AnonymizationRun"]):
    def visible_to(self, user: Any) -> AnonymizationRunQuerySet:
        """The search is steward-only: those who manage the data see its runs."""
        if user.is_auditor:
            return self
        return self.filter(version__in=Version.objects.managed_by(user).values("pk"))


class AnonymizationRun(models.Model):
    """One search for the best anonymized form of a version.

    `policy` names columns and parameters, and no value but a sealed one; `result`
    holds counts.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(
        Version, on_delete=models.PROTECT, related_name="anonymization_runs"
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, related_name="anonymization_run"
    )
    policy = models.JSONField()
    result = models.JSONField(default=dict)
    release = models.OneToOneField(
        Version, null=True, on_delete=models.PROTECT, related_name="made_by_run"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AnonymizationRunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Anonymization of {self.version}"


class RiskReportRunQuerySet(models.QuerySet["RiskReportRun"]):
    def visible_to(self, user: Any) -> RiskReportRunQuerySet:
        """Steward-only, as the figures are."""
        return self.filter(version__in=Version.objects.managed_by(user).values("pk"))


class RiskReportRun(models.Model):
    """A part of a version's risk report that a job makes, and what it found.

    `asked` names columns and bounds; `result` holds counts. A version never changes,
    so that the result stays right.
    """

    class Part(models.TextChoices):
        RISK = "risk", "risk"
        FINDER = "finder", "quasi-identifiers"
        SAFE_HARBOR = "safe_harbor", "Safe Harbor"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(
        Version, on_delete=models.PROTECT, related_name="risk_report_runs"
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, related_name="risk_report_run"
    )
    part = models.CharField(max_length=20, choices=Part.choices)
    asked = models.JSONField()
    result = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RiskReportRunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.get_part_display()} of {self.version}"
