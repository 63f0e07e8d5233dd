"""Metrics of a model version on the held-out units, recorded as an Assessment.

Two readings of the same rows: exact metrics, which stay with stewards and which no
guarantee covers; and those that may leave them, post-processing of one DP histogram
that the held-out units paid for before it was read.
"""

from __future__ import annotations

import math
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
from privacyhub.engines.dp.count_noise import laplace_counts
from privacyhub.engines.dp.events import LaplaceEvent
from privacyhub.engines.dp.inference import predict_encoded
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.governance import audit, ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.training import plans, recipes
from privacyhub.training.models import Model, ModelVersion
from privacyhub.training.rows import Side
from privacyhub.training.services import plan_of

REPLICATES = 300
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Held-out rows as the model sees them.

    scores: as `predict_encoded` gives them, a regression's in the target's own unit.
    truth: class codes, or numbers; NaN where there is none; float64 [rows].
    """

    scores: Floats
    truth: Floats


def price(*, model_version: ModelVersion, epsilon: str) -> plans.Quote:
    """What another assessment would cost. Reads the ledger, no data."""
    version = source_of(model_version)
    accounts = list(version.ledgers.all())
    wanted = recipes.positive(epsilon, name="Epsilon", code="epsilon")
    only = plans.replaced_metrics(plan_of(model_version.run), epsilon=wanted)
    return plans.quote(plan=only, accounts=accounts)


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
    ledger.reserve(
        ledgers=version.ledgers.all(),
        run_id=job_id,
        prices=[
            plans.metrics_price(event=event, epsilon=wanted, part=plan.part_heldout)
        ],
        recipient=by.username,
        by=by,
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


def may_see_exact(*, assessment: Assessment, user: Any) -> bool:
    """Exact figures are for those who manage the data, and for auditors."""
    if user.is_auditor:
        return True
    managed = Model.objects.managed_by(user)
    return managed.filter(pk=assessment.model_version.model_id).exists()


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
    return Scored(scores=scores, truth=truth)


def exact(*, model: TrainedModel, scored: Scored) -> dict[str, Any]:
    """Exact metrics: for stewards alone. Holds no cell of a row."""
    if model.spec.task == "regression":
        told = metrics.regression_metrics(scored.scores, scored.truth)
        told.pop("scatter", None)
        return told
    if model.spec.task == "multiclass":
        names = _classes(model)
        return metrics.multiclass_metrics(scored.scores, scored.truth, classes=names)
    told = metrics.binary_metrics(scored.scores, scored.truth)
    told["confusion"]["labels"] = list(_classes(model))
    return told


def released(
    *, model: TrainedModel, scored: Scored, event: LaplaceEvent, most_rows: int
) -> dict[str, Any]:
    """Metrics that may leave stewards, from one noisy histogram. Charge it first."""
    if model.spec.task == "multiclass":
        return _released_multiclass(model, scored, event, most_rows)
    if model.spec.task == "regression":
        return _released_regression(model, scored, event, most_rows)
    counted = histogram.noisy_score_histogram(
        scored.scores,
        scored.truth,
        noise_multiplier=event.noise_multiplier,
        max_rows_per_unit=most_rows,
    )
    told = histogram.released_metrics(counted)
    told["confusion"]["labels"] = list(_classes(model))
    return told


def _released_multiclass(
    model: TrainedModel, scored: Scored, event: LaplaceEvent, most_rows: int
) -> dict[str, Any]:
    """From a noisy confusion matrix: each row is in one cell of it."""
    names = _classes(model)
    count = len(names)
    usable = np.isfinite(scored.truth) & np.isfinite(scored.scores).all(axis=1)
    cells = scored.truth[usable].astype(int) * count
    cells += scored.scores[usable].argmax(axis=1)
    scale = event.noise_multiplier * most_rows
    exact_counts = np.bincount(cells, minlength=count**2)
    table = laplace_counts(exact_counts, scale=scale).reshape(count, count)
    generator = np.random.default_rng(0)  # post-processing: its seed is no secret
    kept = np.maximum(table, 0)
    drawn = generator.poisson(kept, size=(REPLICATES, count, count))
    noise = generator.laplace(scale=scale, size=drawn.shape)
    spread = np.array([_confusion_figures(one) for one in drawn + noise])
    values = _confusion_figures(table)
    figures = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
    return {
        "task": "multiclass",
        "rows": max(0, int(table.sum())),
        "noise_deviation": math.sqrt(2) * scale,
        "metrics": {
            name: _with_interval(values[k], spread[:, k])
            for k, name in enumerate(figures)
        },
        "confusion": {
            "labels": list(names),
            "counts": [[round(float(cell)) for cell in row] for row in kept],
        },
    }


def _confusion_figures(table: Floats) -> tuple[float, float, float, float]:
    """Accuracy and macro precision, recall and F1 of counts [true, predicted]."""
    table = np.maximum(table, 0)
    hits = np.diag(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = hits / table.sum(axis=0)
        recall = hits / table.sum(axis=1)
        f1 = 2 * hits / (table.sum(axis=0) + table.sum(axis=1))
        accuracy = hits.sum() / table.sum()
    parts = [np.where(np.isfinite(part), part, 0) for part in (precision, recall, f1)]
    return (float(accuracy), *(float(part.mean()) for part in parts))  # type: ignore[return-value]


def _released_regression(
    model: TrainedModel, scored: Scored, event: LaplaceEvent, most_rows: int
) -> dict[str, Any]:
    """From a noisy histogram of the absolute error, in shares of the target's range."""
    target = model.encoder.target if model.encoder else None
    if target is None or target.lower is None or target.upper is None:
        raise ValueError("The model has no numeric target.")
    width = target.upper - target.lower
    truth = np.clip(scored.truth, target.lower, target.upper)
    error = np.clip(np.abs(scored.scores - truth) / width, 0, 1)
    counted = histogram.noisy_score_histogram(
        error,
        np.zeros(len(error)),
        noise_multiplier=event.noise_multiplier,
        classes=1,
        max_rows_per_unit=most_rows,
    )
    middles = (counted.edges[:-1] + counted.edges[1:]) / 2
    counts = counted.counts[0]
    generator = np.random.default_rng(0)
    drawn = generator.poisson(np.maximum(counts, 0), size=(REPLICATES, len(counts)))
    scale = counted.deviation / math.sqrt(2)
    noise = generator.laplace(scale=scale, size=drawn.shape)
    spread = np.array([_error_figures(one, middles) for one in drawn + noise])
    values = _error_figures(counts, middles)
    return {
        "task": "regression",
        "rows": max(0, int(counts.sum())),
        "noise_deviation": counted.deviation,
        "metrics": {
            name: _with_interval(values[k] * width, spread[:, k] * width)
            for k, name in enumerate(("rmse", "mae"))
        },
    }


def _error_figures(counts: Floats, middles: Floats) -> tuple[float, float]:
    """Root mean square and mean of errors that were counted by bin."""
    total = counts.sum()
    if total <= 0:
        return math.nan, math.nan
    square = max(0.0, float((counts * middles**2).sum() / total))
    return math.sqrt(square), max(0.0, float((counts * middles).sum() / total))


def _with_interval(value: float, replicates: Floats) -> dict[str, float | None]:
    known = replicates[np.isfinite(replicates)]
    if not math.isfinite(value) or len(known) < 20:
        return {"value": None, "low": None, "high": None}
    low, high = np.quantile(known, (0.025, 0.975))
    return {
        "value": float(value),
        "low": min(float(low), float(value)),
        "high": max(float(high), float(value)),
    }


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
