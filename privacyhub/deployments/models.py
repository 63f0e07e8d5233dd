"""Predictions: each has an id by which feedback can name it."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.functional import cached_property

from jobs.models import Job
from privacyhub.datasets.models import Upload
from privacyhub.governance import keys
from privacyhub.governance.models import DataKey
from privacyhub.training.models import Model, ModelVersion


class PredictionBatchQuerySet(models.QuerySet["PredictionBatch"]):
    def visible_to(self, user: Any) -> PredictionBatchQuerySet:
        """Who asked for it sees it, nobody else: its file holds their rows' answers."""
        return self.filter(requested_by=user)


class PredictionBatch(models.Model):
    """The rows of one file, predicted by a job; the result is an encrypted CSV."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="batches"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    upload = models.OneToOneField(Upload, on_delete=models.PROTECT)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="batch")
    rows = models.PositiveBigIntegerField(default=0)
    file = models.CharField(max_length=80, blank=True)
    key = models.ForeignKey(
        DataKey, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PredictionBatchQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.rows} predictions"


class PredictionQuerySet(models.QuerySet["Prediction"]):
    def visible_to(self, user: Any) -> PredictionQuerySet:
        """A user's own; and for a model's managers all of it."""
        if user.is_auditor:
            return self
        managed = Model.objects.managed_by(user)
        return self.filter(
            models.Q(requested_by=user)
            | models.Q(model_version__model__in=managed.values("pk"))
        )


class Prediction(models.Model):
    """One answer of a model. Both sides are sealed under the model version's key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="predictions"
    )
    batch = models.ForeignKey(
        PredictionBatch, null=True, on_delete=models.CASCADE, related_name="predictions"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    sealed_input = models.BinaryField()
    sealed_output = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PredictionQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return str(self.id)

    @cached_property
    def output(self) -> dict[str, Any]:
        """The answer; empty after the model version was erased."""
        try:
            told = keys.unseal_json(
                bytes(self.sealed_output),
                key=self.model_version.key,
                context=output_context(self.pk),
            )
        except keys.KeyDestroyed:
            return {}
        return dict(told)


def output_context(pk: uuid.UUID) -> str:
    """What binds a sealed answer to its prediction, and apart from its input."""
    return f"output:{pk}"
