"""What analysts say about a model, and what became of it."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from privacyhub.datasets.models import Version
from privacyhub.training.models import Model, ModelVersion, TrainingRun


class Problem(models.TextChoices):
    WRONG = "wrong", "Predictions are wrong"
    GROUP = "group", "Wrong for a certain group"
    OUTDATED = "outdated", "The world has changed since"
    PRIVACY = "privacy", "A privacy concern"
    UNCLEAR = "unclear", "Hard to understand or use"
    NONE = "none", "No problem, praise"


class Decision(models.TextChoices):
    OPEN = "open", "Open"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"


class FeedbackQuerySet(models.QuerySet["Feedback"]):
    def visible_to(self, user: Any) -> FeedbackQuerySet:
        """An author's own, and all about the models that the user manages."""
        if user.is_auditor:
            return self
        managed = Model.objects.managed_by(user)
        return self.filter(
            Q(author=user) | Q(model_version__model__in=managed.values("pk"))
        )


class Feedback(models.Model):
    """One form, filled in: open -> accepted (a retrain is queued) | declined.

    Corrected labels name predictions; they are sealed under the model version's key.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="feedback"
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="feedback"
    )
    rating = models.PositiveSmallIntegerField()
    problem = models.CharField(max_length=10, choices=Problem.choices)
    group = models.CharField(max_length=200, blank=True)
    text = models.TextField(blank=True)
    corrections_count = models.PositiveIntegerField(default=0)
    sealed_corrections = models.BinaryField(null=True)
    state = models.CharField(
        max_length=10, choices=Decision.choices, default=Decision.OPEN
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    version = models.ForeignKey(
        Version, null=True, on_delete=models.PROTECT, related_name="from_feedback"
    )
    run = models.ForeignKey(
        TrainingRun, null=True, on_delete=models.PROTECT, related_name="from_feedback"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = FeedbackQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "feedback"
        constraints = [
            models.CheckConstraint(
                condition=Q(rating__gte=1, rating__lte=5), name="rating_1_to_5"
            )
        ]

    def __str__(self) -> str:
        return f"Feedback on {self.model_version}"
