"""Metrics of a model version on the held-out units, recorded as an Assessment.

Two readings of the same rows: exact metrics, which stay with stewards and which no
guarantee covers; and those that may leave them, post-processing of one DP histogram
that the held-out units paid for before it was read.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from jobs import services as jobs
from jobs.models import Job
from privacyhub.assessment.models import Assessment
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.models import Version
from privacyhub.engines.assess import histogram, metrics
from privacyhub.engines.assess.released import (
    released_multiclass,
    released_regression,
)
from privacyhub.engines.dp.events import LaplaceEvent
from privacyhub.engines.dp.inference import predict_encoded
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.governance import audit, ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.training import deliveries, plans, recipes
from privacyhub.training.models import ModelVersion
from privacyhub.training.rows import Side
from privacyhub.training.services import plan_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Held-out rows as the model sees them.

    scores: as `predict_encoded` gives them, a regression's in the target's own unit.
    truth: class codes, or numbers; NaN where there is none; float64 [rows].
    units: as `rows.Side` has them.
    """

    scores: Floats
    truth: Floats
    units: NDArray[np.int64] | None


def submit(*, model_version: ModelVersion, by: Any, epsilon: Any) -> Job:
    """Reserve the price of another histogram and queue the assessment.

    Raises DataError, Conflict, LedgerError, or BudgetRefused, which is put on record.
    """
    datasets.require_manager(dataset=model_version.model.dataset, by=by)
    try:
        return _submit(model_version=model_version, by=by, epsilon=epsilon)
    except BudgetRefused as refused:
        ledger.record_refusal(refused=refused, by=by)
        raise


@transaction.atomic
def _submit(*, model_version: ModelVersion, by: Any, epsilon: Any) -> Job:
    version = source_of(model_version)
    wanted = recipes.positive(epsilon, name="Epsilon", code="epsilon")
    plan = plan_of(model_version.run)
    event = plans.metrics_event(epsilon=wanted)
    job_id = uuid.uuid4()
    accounts = list(version.ledgers.all())
    ledger.reserve(
        ledgers=accounts,
        run_id=job_id,
        prices=[
            plans.metrics_price(
                event=event,
                epsilon=wanted,
                part=plan.part_heldout,
                unit=plan.unit,
            )
        ],
        recipient=by.username,
        by=by,
        audience=deliveries.fixed_audience(model_version.model, accounts=accounts),
    )
    job = jobs.submit(
        kind="assess",
        title=f"Assess {model_version}",
        owner=by,
        spec={
            "schema": 1,
            "dataset": str(version.dataset_id),
            "run": str(model_version.run_id),
            "epsilon": wanted,
            "event": event.to_dict(),
        },
        job_id=job_id,
    )
    audit.record(
        actor=by,
        action="assessment.submit",
        target=model_version,
        epsilon=wanted,
    )
    return job


def again(*, job: Job, by: Any) -> Job:
    """For an assessment that failed or was cancelled: the same, priced anew."""
    return submit(model_version=assessed_by(job), by=by, epsilon=job.spec["epsilon"])


def assessed_by(job: Job) -> ModelVersion:
    """The model of an assessment. Raises Conflict where it was never made."""
    versions = ModelVersion.objects.select_related("run__version", "model__dataset")
    found = versions.filter(run=job.spec["run"]).first()
    if found is None:
        raise Conflict("The model to assess was not made.", code="no_model")
    return found


def source_of(model_version: ModelVersion) -> Version:
    """The version a model learnt from. Raises Conflict where either is erased."""
    version = model_version.run.version
    if model_version.erased_at is not None or version is None:
        raise Conflict("This model was erased.", code="erased")
    datasets.require_open(version)
    return version


def score(*, model: TrainedModel, side: Side) -> Scored:
    """Scores and true answers of the held-out rows."""
    encoder = model.encoder
    if encoder is None:
        raise ValueError("The model has no encoder.")
    table = encoder.encode(side.frame)
    scores = predict_encoded(model, table)
    truth = np.asarray(table.target, dtype=np.float64)
    if model.spec.task == "regression":
        scores, truth = encoder.target_numbers(scores), encoder.target_numbers(truth)
    return Scored(scores=scores, truth=truth, units=side.units)


def exact(*, model: TrainedModel, scored: Scored) -> dict[str, Any]:
    """Exact metrics: for stewards alone. Holds no cell of a row."""
    if model.spec.task == "regression":
        told = metrics.regression_metrics(
            scored.scores, scored.truth, units=scored.units
        )
        told.pop("scatter", None)
        return told
    if model.spec.task == "multiclass":
        names = _classes(model)
        return metrics.multiclass_metrics(
            scored.scores, scored.truth, classes=names, units=scored.units
        )
    told = metrics.binary_metrics(scored.scores, scored.truth, units=scored.units)
    told["confusion"]["labels"] = list(_classes(model))
    return told


def released(
    *, model: TrainedModel, scored: Scored, event: LaplaceEvent, most_rows: int
) -> dict[str, Any]:
    """Metrics that may leave stewards, from one noisy histogram. Charge it first."""
    noise: dict[str, Any] = {
        "noise_multiplier": event.noise_multiplier,
        "max_rows_per_unit": most_rows,
    }
    if model.spec.task == "multiclass":
        return released_multiclass(
            scored.scores, scored.truth, classes=_classes(model), **noise
        )
    if model.spec.task == "regression":
        lower, upper = _bounds(model)
        return released_regression(
            scored.scores, scored.truth, lower=lower, upper=upper, **noise
        )
    counted = histogram.noisy_score_histogram(scored.scores, scored.truth, **noise)
    told = histogram.released_metrics(counted)
    told["confusion"]["labels"] = list(_classes(model))
    return told


def _bounds(model: TrainedModel) -> tuple[float, float]:
    target = model.encoder.target if model.encoder else None
    if target is None or target.lower is None or target.upper is None:
        raise ValueError("The model has no numeric target.")
    return target.lower, target.upper


def _classes(model: TrainedModel) -> Sequence[str]:
    target = model.encoder.target if model.encoder else None
    return target.classes if target else ()


@transaction.atomic
def record(
    *,
    model_version: ModelVersion,
    job: Job,
    exact: dict[str, Any],
    released: dict[str, Any],
    epsilon: str,
) -> Assessment:
    """The assessment a job made; call it where the job publishes."""
    made = Assessment.objects.create(
        model_version=model_version,
        job=job,
        exact=exact,
        released=released,
        epsilon=epsilon,
    )
    audit.record(
        actor=job.owner,
        action="assessment.publish",
        target=made,
        model_version=str(model_version.pk),
        epsilon=epsilon,
    )
    return made
