"""Assessments of models and versions, and the reports that people sign."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from jobs.models import Job
from privacyhub.datasets.models import Dataset, Version
from privacyhub.governance.models import Grant
from privacyhub.training.models import Model, ModelVersion


class AssessmentQuerySet(models.QuerySet["Assessment"]):
    def visible_to(self, user: Any) -> AssessmentQuerySet:
        return self.filter(
            model_version__in=ModelVersion.objects.visible_to(user).values("pk")
        )


class Assessment(models.Model):
    """Metrics of a model version on the held-out units.

    `released` is post-processing of one DP histogram and may leave stewards;
    `exact` is steward-only and not covered by the guarantee.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="assessments"
    )
    job = models.OneToOneField(
        Job, null=True, on_delete=models.PROTECT, related_name="assessment"
    )
    released = models.JSONField(default=dict)
    exact = models.JSONField(default=dict)
    epsilon = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AssessmentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Assessment of {self.model_version}"


class GroupAssessmentQuerySet(models.QuerySet["GroupAssessment"]):
    def visible_to(self, user: Any) -> GroupAssessmentQuerySet:
        """Of models that the user sees; without a release, of those they manage."""
        seen = self.filter(
            model_version__in=ModelVersion.objects.visible_to(user).values("pk")
        )
        if user.is_auditor:
            return seen
        managed = Model.objects.managed_by(user).values("pk")
        return seen.filter(~Q(epsilon="") | Q(model_version__model__in=managed))


class GroupAssessment(models.Model):
    """A model version's error by a column's declared groups, on the held-out units.

    `released` is post-processing of one DP histogram of `epsilon`, empty where none
    was paid for; `exact` is steward-only and not covered by the guarantee.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="group_assessments"
    )
    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, related_name="group_assessment"
    )
    column = models.CharField(max_length=300)
    released = models.JSONField(default=list)
    exact = models.JSONField(default=list)
    epsilon = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GroupAssessmentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Error of {self.model_version} by {self.column}"


class ReportQuerySet(models.QuerySet["Report"]):
    def visible_to(self, user: Any) -> ReportQuerySet:
        if user.is_auditor:
            return self
        if user.is_admin:
            return self.none()
        granted = Grant.objects.held_by(user)
        managed = Dataset.objects.managed_by(user).values("pk")
        return self.filter(
            Q(version__dataset__in=managed)
            | Q(model_version__model__in=Model.objects.visible_to(user).values("pk"))
            | Q(pk__in=granted.filter(report__isnull=False).values("report"))
        )


class Report(models.Model):
    """A privacy report: frozen content with its hash, signed by an auditor."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(max_length=250)
    model_version = models.ForeignKey(
        ModelVersion, null=True, on_delete=models.PROTECT, related_name="reports"
    )
    version = models.ForeignKey(
        Version, null=True, on_delete=models.PROTECT, related_name="reports"
    )
    content = models.JSONField()
    sha256 = models.CharField(max_length=64)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    signed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    signed_at = models.DateTimeField(null=True)

    objects = ReportQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(model_version=None, version__isnull=False)
                | Q(model_version__isnull=False, version=None),
                name="report_of_one_thing",
            )
        ]

    def __str__(self) -> str:
        return self.title
