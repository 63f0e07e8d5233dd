"""Erasing a dataset: its keys are destroyed, its history stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from jobs.models import Job
from privacyhub.datasets import storage
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Dataset, Version
from privacyhub.datasets.services import require_owner
from privacyhub.governance import audit, keys


@dataclass(frozen=True)
class Touched:
    """What an erasure reaches."""

    versions: list[Version]
    models: list[Any]
    reports: list[Any]


def touched(dataset: Dataset) -> Touched:
    """The versions, model versions and reports that an erasure would reach.

    Models and reports are found from the dataset: their apps lie above this one.
    """
    versions = list(dataset.versions.all())
    models = [
        model_version
        for model in dataset.models.all()
        for model_version in model.versions.all()
    ]
    reports = [report for version in versions for report in version.reports.all()]
    reports += [report for model in models for report in model.reports.all()]
    return Touched(versions=versions, models=models, reports=reports)


@transaction.atomic
def erase(*, dataset: Dataset, by: Any, confirm: str, with_models: bool) -> Touched:
    """Destroy the keys of every version, and of the models if asked.

    The ledger, the audit trail and the reports stay. `confirm` is the dataset's name.
    The files go too, but the keys are what counts: no copy of a file opens any more.
    """
    row = Dataset.objects.select_for_update().get(pk=dataset.pk)
    require_owner(row, by)
    if row.erased_at is not None:
        raise Conflict("The dataset was erased already.", code="erased")
    if confirm != row.name:
        raise DataError("Type the dataset's name to confirm.", code="confirm")
    if Job.objects.open().filter(spec__dataset=str(row.pk)).exists():
        raise Conflict(
            "A job on this dataset is queued or running. Cancel it first.",
            code="busy",
        )
    reached = touched(row)
    now = timezone.now()
    gone = [*reached.versions, *(reached.models if with_models else [])]
    answers = _answers(reached.models) if with_models else []
    for thing in gone:
        keys.destroy(thing.key)
        thing.erased_at = now
        thing.save(update_fields=["erased_at"])
    for batch in answers:
        keys.destroy(batch.key)
    row.erased_at = now
    row.save(update_fields=["erased_at"])
    row.grants.filter(revoked_at=None).update(revoked_at=now)
    audit.record(
        actor=by,
        action="dataset.erase",
        target=row,
        versions=[str(version.pk) for version in reached.versions],
        models=[str(model.pk) for model in reached.models],
        models_erased=with_models,
    )
    copies = _exports(reached.models) if with_models else []
    names = [thing.file for thing in [*gone, *answers, *copies]]
    transaction.on_commit(lambda: _remove(names))
    return reached


def _answers(models: list[Any]) -> list[Any]:
    """The prediction files of these model versions, found from them like the reports.

    They lie under keys of their own.
    """
    return [
        batch for model in models for batch in model.batches.exclude(key__isnull=True)
    ]


def _exports(models: list[Any]) -> list[Any]:
    """These versions in other programs' formats, which lie under the versions' keys."""
    return [export for model in models for export in model.exports.all()]


def _remove(names: list[str]) -> None:
    for name in names:
        storage.remove(name)
