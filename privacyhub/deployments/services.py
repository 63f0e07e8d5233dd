"""Predictions of a deployed model version: each with an id, its input sealed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from django.db import transaction

from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets.errors import Conflict
from privacyhub.deployments.inputs import frame_of
from privacyhub.deployments.models import (
    Prediction,
    PredictionBatch,
    output_context,
)
from privacyhub.engines.dp import inference
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.governance import audit, keys
from privacyhub.training import artefacts
from privacyhub.training.models import ModelVersion

INSERT_ROWS = 1_000


def require_usable(*, model_version: ModelVersion, by: Any) -> None:
    """Refuse, on the record, who may only look; and what was erased."""
    if not ModelVersion.objects.usable_by(by).filter(pk=model_version.pk).exists():
        audit.record(actor=by, action="model_version.refuse", target=model_version)
        raise NotAllowed("You may look at this model, but not use it.")
    if model_version.erased_at is not None:
        raise Conflict("This model was erased.", code="erased")


def predict(
    *, model_version: ModelVersion, rows: Sequence[Mapping[str, Any]], by: Any
) -> list[Prediction]:
    """Answer some rows at once, by numpy in this process.

    Raises DataError naming row and column, NotAllowed, Conflict or KeyDestroyed.
    """
    require_usable(model_version=model_version, by=by)
    model = artefacts.load(model_version)
    frame = frame_of(model=model, rows=rows)
    outputs = answers(model=model, frame=frame)
    with transaction.atomic():
        made = keep(
            model_version=model_version, frame=frame, outputs=outputs, by=by, batch=None
        )
        audit.record(
            actor=by,
            action="model_version.predict",
            target=model_version,
            rows=len(made),
        )
    return made


def answers(*, model: TrainedModel, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """One answer a row: label with probabilities, or a number."""
    told = inference.predict(model, frame)
    if told.labels is None:
        return [{"value": float(score)} for score in told.scores]
    target = model.encoder.target if model.encoder else None
    names = target.classes if target else ()
    shares = (
        [(1 - float(score), float(score)) for score in told.scores]
        if model.spec.task == "binary"
        else [tuple(map(float, row)) for row in told.scores]
    )
    return [
        {
            "label": str(label),
            "probability": max(row),
            "probabilities": dict(zip(names, row, strict=True)),
        }
        for label, row in zip(told.labels, shares, strict=True)
    ]


def keep(
    *,
    model_version: ModelVersion,
    frame: pl.DataFrame,
    outputs: Sequence[Mapping[str, Any]],
    by: Any,
    batch: PredictionBatch | None,
    ids: Sequence[uuid.UUID] | None = None,
) -> list[Prediction]:
    """Store answers and their inputs, sealed under the model version's key."""
    ids = ids or [uuid.uuid4() for _ in outputs]
    made = [
        Prediction(
            id=pk,
            model_version=model_version,
            batch=batch,
            requested_by=by,
            sealed_input=keys.seal_json(row, key=model_version.key, context=str(pk)),
            sealed_output=keys.seal_json(
                output, key=model_version.key, context=output_context(pk)
            ),
        )
        for pk, row, output in zip(
            ids, frame.iter_rows(named=True), outputs, strict=True
        )
    ]
    Prediction.objects.bulk_create(made, batch_size=INSERT_ROWS)
    return made


def input_of(prediction: Prediction) -> dict[str, Any]:
    """The row that was asked about. Raises KeyDestroyed after an erasure."""
    return dict(
        keys.unseal_json(
            bytes(prediction.sealed_input),
            key=prediction.model_version.key,
            context=str(prediction.pk),
        )
    )
