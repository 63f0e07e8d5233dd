"""What leaves with a model: its signed file, and copies for other programs.

A SavedModel and an ONNX file take encoded rows; the encoder and the guarantee travel
with them. Each was checked by the job that made it: on made-up rows it predicts what
the model predicts, to 1e-5. Each download is on the audit trail, and that of a model
without privacy is an uncovered release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from jobs import services as jobs
from jobs.models import Job
from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.uploads import open_sealed
from privacyhub.governance import audit, keys, ledger
from privacyhub.training import artefacts
from privacyhub.training.models import ExportFormat, ModelExport, ModelVersion, Privacy

CHUNK = 2**20
SUFFIXES = {ExportFormat.SAVED_MODEL: "zip", ExportFormat.ONNX: "onnx"}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A format, and how far it is: made, being made by `job`, or neither."""

    format: ExportFormat
    made: ModelExport | None
    job: Job | None


@dataclass(frozen=True, kw_only=True)
class StoredExport:
    """A sealed export that no row names yet."""

    file: str
    size: int
    sha256: str
    difference: float


def offers(model_version: ModelVersion) -> list[Offer]:
    """Every format of the version."""
    made = {export.format: export for export in model_version.exports.all()}
    at_work = {job.spec["format"]: job for job in _jobs(model_version).open()}
    return [
        Offer(format=one, made=made.get(one.value), job=at_work.get(one.value))
        for one in ExportFormat
    ]


def request(*, model_version: ModelVersion, form: str, by: Any) -> Offer:
    """Queue the job that makes an export, unless it is made or at work already.

    Raises DataError for another format, NotAllowed, or Conflict for an erased model.
    """
    if form not in ExportFormat.values:
        raise DataError(
            f"The format is one of {', '.join(ExportFormat.values)}.", code="format"
        )
    _require_takeable(model_version, by)
    with transaction.atomic():
        # One at a time: two requests at once make one job.
        row = ModelVersion.objects.select_for_update().get(pk=model_version.pk)
        offer = next(one for one in offers(row) if one.format == form)
        if offer.made is not None or offer.job is not None:
            return offer
        label = ExportFormat(form).label
        job = jobs.submit(
            kind="export",
            title=f"Export {model_version} as {label}",
            owner=by,
            spec={
                "schema": 1,
                "dataset": str(model_version.model.dataset_id),
                "model_version": str(model_version.pk),
                "format": form,
            },
        )
        audit.record(
            actor=by, action="model_version.export", target=model_version, format=form
        )
    return Offer(format=ExportFormat(form), made=None, job=job)


def again(*, job: Job, by: Any) -> Job:
    """The job of an export that failed or was cancelled; one at work is joined."""
    version = ModelVersion.objects.get(pk=job.spec["model_version"])
    offer = request(model_version=version, form=job.spec["format"], by=by)
    if offer.job is None:
        raise Conflict("This export has been made since.", code="made")
    return offer.job


def store(
    *, model_version: ModelVersion, content: bytes, difference: float
) -> StoredExport:
    """Seal an export under the version's key, so that one erasure ends both."""
    key = keys.unwrap(model_version.key)
    file, _ = artefacts.seal_bytes(content, key=key)
    return StoredExport(
        file=file,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        difference=difference,
    )


@transaction.atomic
def publish(
    *, model_version: ModelVersion, form: str, stored: StoredExport
) -> ModelExport:
    """The export that a job made; call it where the job publishes."""
    made, _ = ModelExport.objects.update_or_create(
        model_version=model_version,
        format=form,
        defaults={
            "file": stored.file,
            "size": stored.size,
            "sha256": stored.sha256,
            "difference": stored.difference,
        },
    )
    return made


def download(*, model_version: ModelVersion, by: Any) -> Iterator[bytes]:
    """The model file, on the record. For managers and those who may use the model.

    Raises NotAllowed, Conflict or KeyDestroyed before the first byte.
    """
    _require_takeable(model_version, by)
    content = artefacts.verified(model_version)
    _hand_over(model_version, by, what="file", sha256=model_version.artefact_sha256)
    return _pieces(content)


def download_export(*, export: ModelExport, by: Any) -> Iterator[bytes]:
    """An export, on the record; raises as `download` does."""
    version = export.model_version
    _require_takeable(version, by)
    try:
        with open_sealed(export.file, key=keys.unwrap(version.key)) as source:
            content = source.read()
    except ValueError as error:
        raise Conflict(
            "The export was altered or damaged. Make it again.", code="model_damaged"
        ) from error
    _hand_over(version, by, what=export.format, sha256=export.sha256)
    return _pieces(content)


def _require_takeable(model_version: ModelVersion, by: Any) -> None:
    if not ModelVersion.objects.usable_by(by).filter(pk=model_version.pk).exists():
        audit.record(actor=by, action="model_version.refuse", target=model_version)
        raise NotAllowed("You may look at this model, but not take its file.")
    if model_version.erased_at is not None:
        raise Conflict("This model was erased.", code="erased")


@transaction.atomic
def _hand_over(model_version: ModelVersion, by: Any, *, what: str, sha256: str) -> None:
    run = model_version.run
    if run.privacy == Privacy.NONE and run.version is not None:
        ledger.note_uncovered_release(
            ledgers=run.version.ledgers.all(),
            by=by,
            recipient=by.username,
            purpose="download model",
            note=f"the file of {model_version}, trained without privacy",
            run_id=run.job_id,
        )
    audit.record(
        actor=by,
        action="model_version.download",
        target=model_version,
        format=what,
        sha256=sha256,
    )


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]


def _jobs(model_version: ModelVersion) -> Any:
    return Job.objects.filter(kind="export", spec__model_version=str(model_version.pk))
