"""Predictions for the rows of a file: uploaded sealed, answered by a job."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from django.db import transaction
from django.utils import timezone

from jobs import services as jobs
from jobs.models import Job
from privacyhub.datasets import intake, storage
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Upload
from privacyhub.datasets.uploads import SealedUpload, open_sealed
from privacyhub.deployments import services
from privacyhub.deployments.inputs import frame_of_table
from privacyhub.deployments.models import PredictionBatch
from privacyhub.engines import tables
from privacyhub.governance import audit, keys
from privacyhub.governance.models import DataKey
from privacyhub.training import artefacts
from privacyhub.training.models import ModelVersion

MOST_ROWS = 50_000
CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A file's answers before they are published; the result lies sealed."""

    frame: pl.DataFrame
    outputs: list[dict[str, Any]]
    ids: list[uuid.UUID]
    file: str
    key: DataKey


def submit(
    *, model_version: ModelVersion, file: SealedUpload, by: Any
) -> PredictionBatch:
    """Check the file's structure and queue the job that answers it: both, or neither.

    Raises DataError naming row and column, or TooManyJobs.
    """
    services.require_usable(model_version=model_version, by=by)
    upload = intake.receive(file=file, by=by)
    with intake.forgotten_unless_queued(upload):
        return _queue(model_version=model_version, upload=upload, by=by)


@transaction.atomic
def _queue(*, model_version: ModelVersion, upload: Upload, by: Any) -> PredictionBatch:
    upload.consumed_at = timezone.now()
    upload.save(update_fields=["consumed_at"])
    batch_id = uuid.uuid4()
    job = jobs.submit(
        kind="predict",
        title=f"Predict {upload.source_name} with {model_version}",
        owner=by,
        spec={
            "schema": 1,
            "dataset": str(model_version.model.dataset_id),
            "batch": str(batch_id),
        },
    )
    batch = PredictionBatch.objects.create(
        id=batch_id,
        model_version=model_version,
        requested_by=by,
        upload=upload,
        job=job,
    )
    audit.record(
        actor=by,
        action="model_version.predict_file",
        target=model_version,
        batch=str(batch.pk),
    )
    return batch


def answer(batch: PredictionBatch) -> Answered:
    """Read the upload, predict each row, seal the answers as a CSV file.

    Raises DataError or TableError naming row and column.
    """
    model = artefacts.load(batch.model_version)
    frame = frame_of_table(model=model, table=_table(batch.upload))
    outputs = services.answers(model=model, frame=frame)
    ids = [uuid.uuid4() for _ in outputs]
    file, key = _seal(result_table(ids=ids, outputs=outputs))
    return Answered(frame=frame, outputs=outputs, ids=ids, file=file, key=key)


def _table(upload: Upload) -> pl.DataFrame:
    with intake.open_upload(upload) as source:
        form = tables.Format(upload.format)
        structure = tables.check_structure(source, format=form)
        if structure.rows > MOST_ROWS:
            raise DataError(
                f"A file for prediction has at most {MOST_ROWS} rows.",
                code="too_many_rows",
            )
        source.seek(0)
        table = tables.read_table(source, format=form, structure=structure)
        frames = [pl.from_arrow(batch) for batch in table.batches()]
    return pl.concat([frame for frame in frames if isinstance(frame, pl.DataFrame)])


def result_table(
    *, ids: Sequence[uuid.UUID], outputs: Sequence[dict[str, Any]]
) -> pl.DataFrame:
    """Prediction ids and answers, row by row as the file had them."""
    first = outputs[0] if outputs else {}
    columns: dict[str, list[Any]] = {"prediction_id": [str(pk) for pk in ids]}
    for name in ("label", "probability", "value"):
        if name in first:
            columns[name] = [output[name] for output in outputs]
    for name in first.get("probabilities", {}):
        columns[f"probability of {name}"] = [
            output["probabilities"][name] for output in outputs
        ]
    return pl.DataFrame(columns)


def _seal(table: pl.DataFrame) -> tuple[str, DataKey]:
    name = storage.new_name("results", "sealed")
    key, plain = keys.create(purpose="result")
    with storage.writing(name) as raw:
        writer = tables.SealedWriter(raw, key=plain, context=name.encode())
        for piece in tables.to_csv(table):
            writer.write(piece)
        writer.close()
    return name, key


def publish(*, batch: PredictionBatch, answered: Answered, job: Job) -> None:
    """Store the answers; call it where the job publishes."""
    services.keep(
        model_version=batch.model_version,
        frame=answered.frame,
        outputs=answered.outputs,
        by=batch.requested_by,
        batch=batch,
        ids=answered.ids,
    )
    batch.rows = len(answered.ids)
    batch.file, batch.key = answered.file, answered.key
    batch.save(update_fields=["rows", "file", "key"])
    intake.forget(batch.upload)
    audit.record(
        actor=job.owner,
        action="prediction_batch.publish",
        target=batch,
        rows=batch.rows,
    )


def download(*, batch: PredictionBatch, by: Any) -> Iterator[bytes]:
    """The answers as CSV, on the record. Raises Conflict while there are none."""
    if batch.key is None:
        raise Conflict("The predictions are not ready.", code="not_ready")
    key = keys.unwrap(batch.key)
    with transaction.atomic():
        audit.record(actor=by, action="prediction_batch.download", target=batch)
    return _pieces(batch.file, key)


def _pieces(file: str, key: bytes) -> Iterator[bytes]:
    with open_sealed(file, key=key) as source:
        while block := source.read(CHUNK):
            yield block
