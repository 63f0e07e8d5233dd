"""Recipes, training runs, and the models they make."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from jobs.models import Job
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets.models import Dataset, Version
from privacyhub.governance.models import DataKey, Grant, Right


class Recipe(models.Model):
    """The specification of a training run without its version and split."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    spec = models.JSONField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"recipe {self.id}"


class TrainingDraft(models.Model):
    """Where a steward stopped in the wizard; survives a closed tab.

    It is for `version`, or for the release that the run `after` makes of it.
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="+")
    after = models.ForeignKey(
        AnonymizationRun, null=True, on_delete=models.CASCADE, related_name="+"
    )
    answers = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "version"],
                condition=Q(after=None),
                name="one_draft_a_version",
            ),
            models.UniqueConstraint(
                fields=["owner", "after"], name="one_draft_a_release"
            ),
        ]

    def __str__(self) -> str:
        return f"draft for {self.version}"


class ModelQuerySet(models.QuerySet["Model"]):
    def visible_to(self, user: Any) -> ModelQuerySet:
        """Models of managed data, and those shared; a grant on data gives none."""
        if user.is_auditor:
            return self
        if user.is_admin:
            return self.none()
        granted = Grant.objects.held_by(user).filter(model__isnull=False)
        return self.filter(
            Q(dataset__in=Dataset.objects.managed_by(user).values("pk"))
            | Q(pk__in=granted.values("model"))
        )

    def usable_by(self, user: Any) -> ModelQuerySet:
        """Those that the user may ask for predictions and give feedback on."""
        granted = Grant.objects.held_by(user).filter(
            model__isnull=False, right__in=[Right.USE, Right.MANAGE]
        )
        return self.filter(
            Q(dataset__in=Dataset.objects.managed_by(user).values("pk"))
            | Q(pk__in=granted.values("model"))
        )

    def managed_by(self, user: Any) -> ModelQuerySet:
        return self.filter(dataset__in=Dataset.objects.managed_by(user).values("pk"))


class Model(models.Model):
    """A named model of a dataset's target; its versions come from training runs."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    dataset = models.ForeignKey(
        Dataset, on_delete=models.PROTECT, related_name="models"
    )
    target = models.CharField(max_length=300)
    task = models.CharField(max_length=12)  # binary, multiclass, regression
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def latest(self) -> ModelVersion | None:
        return self.versions.order_by("-number").first()


class Privacy(models.TextChoices):
    DP = "dp", "Differentially private"
    NONE = "none", "Without privacy"


class SweepQuerySet(models.QuerySet["Sweep"]):
    def visible_to(self, user: Any) -> SweepQuerySet:
        """A sweep is seen by whoever sees the model that its private runs make."""
        return self.filter(model__in=Model.objects.visible_to(user).values("pk"))


class Sweep(models.Model):
    """One recipe at several epsilons: runs that were reserved together.

    together, metrics_together: what training and held-out units pay in all, at
    `delta`, as decimal strings. `model` is the one that the private runs make versions
    of; a run without privacy makes a model of its own.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="sweeps")
    version = models.ForeignKey(
        Version, on_delete=models.PROTECT, related_name="sweeps"
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    together = models.CharField(max_length=40)
    metrics_together = models.CharField(max_length=40)
    delta = models.CharField(max_length=40)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SweepQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Sweep of {self.model.name}"


class TrainingRunQuerySet(models.QuerySet["TrainingRun"]):
    def visible_to(self, user: Any) -> TrainingRunQuerySet:
        if user.is_auditor:
            return self
        managed = Dataset.objects.managed_by(user)
        return self.filter(model__dataset__in=managed.values("pk"))


class TrainingRun(models.Model):
    """One training of a model from a recipe on a version.

    `plan` is fixed before any private read: sampling probability, noise multiplier,
    steps, epsilon and delta. `version` is empty while the job that makes it runs;
    `after` is the anonymization run whose release was ordered in its place.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="runs")
    version = models.ForeignKey(
        Version, null=True, on_delete=models.PROTECT, related_name="training_runs"
    )
    after = models.ForeignKey(
        AnonymizationRun, null=True, on_delete=models.PROTECT, related_name="trainings"
    )
    recipe = models.ForeignKey(Recipe, on_delete=models.PROTECT, related_name="runs")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, related_name="training_run"
    )
    assess_job = models.OneToOneField(
        Job, null=True, on_delete=models.PROTECT, related_name="assessed_run"
    )
    privacy = models.CharField(max_length=4, choices=Privacy.choices)
    reason = models.TextField(blank=True)  # why without privacy
    plan = models.JSONField(default=dict)
    attempts = models.JSONField(default=list)  # see training.attempts
    retrain_of = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="retrains"
    )
    sweep = models.ForeignKey(
        Sweep, null=True, on_delete=models.PROTECT, related_name="runs"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TrainingRunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Training of {self.model.name}"


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def visible_to(self, user: Any) -> ModelVersionQuerySet:
        return self.filter(model__in=Model.objects.visible_to(user).values("pk"))

    def usable_by(self, user: Any) -> ModelVersionQuerySet:
        return self.filter(model__in=Model.objects.usable_by(user).values("pk"))


class ModelVersion(models.Model):
    """The artefact of one run: an encrypted model file and its guarantee."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    run = models.OneToOneField(
        TrainingRun, on_delete=models.PROTECT, related_name="model_version"
    )
    file = models.CharField(max_length=80)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)  # of the ciphertext
    artefact_sha256 = models.CharField(max_length=64)  # of the model file itself
    key = models.ForeignKey(DataKey, on_delete=models.PROTECT, related_name="+")
    guarantee = models.JSONField(default=dict)
    summary = models.JSONField(default=dict)  # architecture, inputs, classes
    loss_curve = models.JSONField(default=list)  # runs without privacy only
    created_at = models.DateTimeField(auto_now_add=True)
    erased_at = models.DateTimeField(null=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "number"], name="model_version_number_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.model.name} v{self.number}"


class ExportFormat(models.TextChoices):
    SAVED_MODEL = "saved_model", "TensorFlow SavedModel"
    ONNX = "onnx", "ONNX"


class ModelExport(models.Model):
    """A model version in another program's format, sealed under the version's key.

    It was made by a job, which checked that it predicts what the model predicts.
    """

    KEY_OF_FILE = "model_version__key"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="exports"
    )
    format = models.CharField(max_length=12, choices=ExportFormat.choices)
    file = models.CharField(max_length=80)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)  # of the plain file
    difference = models.FloatField()  # largest, of a prediction; see exports
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["format"]
        constraints = [
            models.UniqueConstraint(
                fields=["model_version", "format"], name="one_export_a_format"
            )
        ]

    def __str__(self) -> str:
        return f"{self.model_version} as {self.get_format_display()}"
