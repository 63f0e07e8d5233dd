"""Erasing a dataset: its keys are destroyed, its history stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q
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
    gone = [*reached.versions, *(reached.models if with_models else [])]
    answers = _answers(reached.models) if with_models else []
    for thing in [*gone, *answers]:
        keys.destroy(thing.key)
    _mark(row, gone)
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


def mark_again() -> None:
    """Mark as erased what a restore brought back without the keys to it.

    A dataset is erased whole, so one that lost a key on its way is an erased one.
    """
    lost = Q(versions__key__destroyed_at__isnull=False) | Q(
        models__versions__key__destroyed_at__isnull=False
    )
    found = Dataset.objects.filter(lost, erased_at=None).values("pk")
    for row in Dataset.objects.filter(pk__in=found):
        reached = touched(row)
        owners = [*reached.versions, *reached.models]
        _mark(row, [one for one in owners if one.key.destroyed_at is not None])


def _mark(dataset: Dataset, gone: list[Any]) -> None:
    """The dataset is erased, and of its versions and models those that are gone."""
    now = timezone.now()
    for thing in [dataset, *gone]:
        thing.erased_at = now
        thing.save(update_fields=["erased_at"])
    dataset.grants.filter(revoked_at=None).update(revoked_at=now)


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
