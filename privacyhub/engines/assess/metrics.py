"""Exact quality of predictions, with bootstrap intervals, as JSON for plots.

Everything here reads labels of private rows: the results stay with stewards and are
labelled "not covered by the guarantee". What leaves them is `histogram`'s.
Intervals are percentile bootstrap intervals over units. `units` [rows] is equal for
rows of one unit and -1 without a key; None where each row is a unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.assess.resampling import Units, resampled_weights

Floats = NDArray[np.float64]

REPLICATES = 200
CURVE_POINTS = 200
CALIBRATION_BINS = 10


def binary_metrics(
    scores: Floats,
    labels: NDArray[Any],
    *,
    units: Units | None = None,
    threshold: float = 0.5,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of probabilities of the positive class.

    scores [rows] in [0, 1]; labels [rows], 1 positive, 0 negative; rows with another
    label are left out. A figure that does not exist (one class only) is None.
    """
    usable = _usable(scores, labels)
    scores = np.asarray(scores, dtype=np.float64)[usable]
    truth = np.asarray(labels)[usable] == 1
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    units = None if units is None else units[usable][order]
    ends = np.flatnonzero(np.diff(scores, append=-np.inf) != 0)
    ones = np.ones(len(scores))

    def figures(weights: Floats) -> list[float]:
        return _binary_figures(scores, truth, weights, ends=ends, threshold=threshold)

    names = (
        "accuracy",
        "precision",
        "recall",
        "f1",
        "auc",
        "average_precision",
        "brier",
    )
    values = figures(ones)
    intervals = _bootstrap(
        figures, rows=len(scores), units=units, replicates=replicates, seed=seed
    )
    roc, pr = _curves(truth, ones, ends)
    predicted = scores >= threshold
    return {
        "task": "binary",
        "rows": len(scores),
        "threshold": threshold,
        "metrics": _with_intervals(names, values, intervals),
        "confusion": {
            "labels": ["0", "1"],
            "counts": [
                [int((~predicted & ~truth).sum()), int((predicted & ~truth).sum())],
                [int((~predicted & truth).sum()), int((predicted & truth).sum())],
            ],
        },
        "roc": roc,
        "pr": pr,
        "calibration": _calibration(scores, truth),
    }


def multiclass_metrics(
    scores: Floats,
    labels: NDArray[Any],
    *,
    classes: Sequence[str],
    units: Units | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of class probabilities [rows, classes]; labels are class codes [rows].

    Macro figures are plain means over the classes, one against the rest.
    """
    labels = np.asarray(labels, dtype=np.float64)
    usable = np.isfinite(labels) & np.isfinite(scores).all(axis=1)
    scores, codes = scores[usable], labels[usable].astype(np.int64)
    units = None if units is None else units[usable]
    count = len(classes)
    predicted = scores.argmax(axis=1)
    cells = codes * count + predicted

    rankings = [_Ranking.of(scores[:, k], codes == k) for k in range(count)]

    def figures(weights: Floats) -> list[float]:
        table = np.bincount(cells, weights=weights, minlength=count**2)
        confusion = _confusion_figures(table.reshape(count, count).astype(np.float64))
        return [*confusion, _mean([one.auc(weights) for one in rankings])]

    names = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc")
    intervals = _bootstrap(
        figures, rows=len(codes), units=units, replicates=replicates, seed=seed
    )
    per_class = []
    for code, name in enumerate(classes):
        one = binary_metrics(scores[:, code], codes == code, replicates=0)
        per_class.append(
            {
                "class": name,
                "rows": int((codes == code).sum()),
                "auc": one["metrics"]["auc"]["value"],
                "precision": one["metrics"]["precision"]["value"],
                "recall": one["metrics"]["recall"]["value"],
                "roc": one["roc"],
                "pr": one["pr"],
                "calibration": one["calibration"],
            }
        )
    counts = np.bincount(cells, minlength=count**2).reshape(count, count)
    return {
        "task": "multiclass",
        "rows": len(codes),
        "metrics": _with_intervals(names, figures(np.ones(len(codes))), intervals),
        "confusion": {"labels": list(classes), "counts": counts.tolist()},
        "classes": per_class,
    }


def regression_metrics(
    predicted: Floats,
    truth: Floats,
    *,
    units: Units | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """RMSE, MAE and R2 of numbers in the target's own unit; both [rows]."""
    predicted = np.asarray(predicted, dtype=np.float64)
    truth = np.asarray(truth, dtype=np.float64)
    usable = np.isfinite(predicted) & np.isfinite(truth)
    predicted, truth = predicted[usable], truth[usable]
    units = None if units is None else units[usable]
    error = predicted - truth

    def figures(weights: Floats) -> list[float]:
        total = weights.sum()
        if total == 0:
            return [np.nan, np.nan, np.nan]
        squared = (weights * error**2).sum() / total
        mean = (weights * truth).sum() / total
        spread = (weights * (truth - mean) ** 2).sum() / total
        return [
            float(np.sqrt(squared)),
            float((weights * np.abs(error)).sum() / total),
            float(1 - squared / spread) if spread > 0 else np.nan,
        ]

    kept = np.linspace(0, len(truth) - 1, min(len(truth), 1000)).astype(int)
    return {
        "task": "regression",
        "rows": len(truth),
        "metrics": _with_intervals(
            ("rmse", "mae", "r2"),
            figures(np.ones(len(truth))),
            _bootstrap(
                figures,
                rows=len(truth),
                units=units,
                replicates=replicates,
                seed=seed,
            ),
        ),
        "scatter": {
            "truth": truth[kept].tolist(),
            "predicted": predicted[kept].tolist(),
        },
    }


def _usable(scores: Floats, labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows with a score and a label of 0 or 1."""
    known = np.isin(np.asarray(labels, dtype=np.float64), (0.0, 1.0))
    return known & np.isfinite(np.asarray(scores, dtype=np.float64))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _binary_figures(
    scores: Floats,
    truth: NDArray[np.bool_],
    weights: Floats,
    *,
    ends: NDArray[np.int64],
    threshold: float,
) -> list[float]:
    """The figures of rows sorted by falling score, under row weights."""
    if not len(scores):
        return [float("nan")] * 7
    positive = weights * truth
    tp_curve = np.cumsum(positive)[ends]
    all_curve = np.cumsum(weights)[ends]
    positives, total = tp_curve[-1], all_curve[-1]
    negatives = total - positives
    predicted = scores >= threshold
    tp = float(positive[predicted].sum())
    chosen = float(weights[predicted].sum())
    tn = negatives - (chosen - tp)
    fp_curve = all_curve - tp_curve
    auc = _area(tp_curve, fp_curve)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision_curve = np.where(all_curve > 0, tp_curve / all_curve, 1.0)
    average = _ratio(
        float((np.diff(np.append(0, tp_curve)) * precision_curve).sum()), positives
    )
    precision, recall = _ratio(tp, chosen), _ratio(tp, positives)
    return [
        _ratio(tp + tn, total),
        precision,
        recall,
        _ratio(2 * tp, chosen + positives),
        auc,
        average,
        _ratio(float((weights * (scores - truth) ** 2).sum()), total),
    ]


def _area(tp: Floats, fp: Floats) -> float:
    """AUC of positives and negatives above each of the falling thresholds."""
    area = np.trapezoid if hasattr(np, "trapezoid") else np.trapz
    below = float(area(np.append(0, tp), np.append(0, fp)))
    return _ratio(below, float(tp[-1] * fp[-1])) if len(tp) else math.nan


@dataclass(frozen=True, kw_only=True)
class _Ranking:
    """Rows in the order of their falling score. ends: the last of each equal score."""

    order: NDArray[np.int64]
    ends: NDArray[np.int64]
    truth: NDArray[np.bool_]

    @classmethod
    def of(cls, scores: Floats, truth: NDArray[np.bool_]) -> _Ranking:
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.diff(scores[order], append=-np.inf) != 0)
        return cls(order=order, ends=ends, truth=truth[order])

    def auc(self, weights: Floats) -> float:
        sorted_weights = weights[self.order]
        tp = np.cumsum(sorted_weights * self.truth)[self.ends]
        return _area(tp, np.cumsum(sorted_weights)[self.ends] - tp)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _confusion_figures(table: Floats) -> list[float]:
    hits = np.diag(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = hits / table.sum(axis=0)
        recall = hits / table.sum(axis=1)
        f1 = 2 * hits / (table.sum(axis=0) + table.sum(axis=1))
    return [
        _ratio(float(hits.sum()), float(table.sum())),
        *(
            float(np.nanmean(part)) if np.isfinite(part).any() else float("nan")
            for part in (precision, recall, f1)
        ),
    ]


def _bootstrap(
    figures: Callable[[Floats], list[float]],
    *,
    rows: int,
    units: Units | None,
    replicates: int,
    seed: int,
) -> Floats | None:
    """Figures of resampled units, [replicates, figures]; None without replicates."""
    if replicates == 0 or rows == 0:
        return None
    drawn = resampled_weights(rows=rows, units=units, replicates=replicates, seed=seed)
    return np.array([figures(weights) for weights in drawn])


def _with_intervals(
    names: Sequence[str], values: Sequence[float], replicated: Floats | None
) -> dict[str, Any]:
    result = {}
    for column, (name, value) in enumerate(zip(names, values, strict=True)):
        low = high = None
        if replicated is not None:
            known = replicated[:, column][np.isfinite(replicated[:, column])]
            if len(known):
                low, high = (float(q) for q in np.quantile(known, (0.025, 0.975)))
        result[name] = {
            "value": float(value) if np.isfinite(value) else None,
            "low": low,
            "high": high,
        }
    return result


def _curves(
    truth: NDArray[np.bool_], weights: Floats, ends: NDArray[np.int64]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    tp = np.append(0, np.cumsum(weights * truth)[ends])
    every = np.append(0, np.cumsum(weights)[ends])
    positives, negatives = tp[-1], every[-1] - tp[-1]
    if positives == 0 or negatives == 0:
        return {"fpr": [], "tpr": []}, {"recall": [], "precision": []}
    kept = np.unique(np.linspace(0, len(tp) - 1, CURVE_POINTS).astype(int))
    roc = {
        "fpr": ((every - tp)[kept] / negatives).tolist(),
        "tpr": (tp[kept] / positives).tolist(),
    }
    kept = kept[kept > 0]
    pr = {
        "recall": (tp[kept] / positives).tolist(),
        "precision": (tp[kept] / every[kept]).tolist(),
    }
    return roc, pr


def _calibration(scores: Floats, truth: NDArray[np.bool_]) -> list[dict[str, Any]]:
    places = np.clip((scores * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    rows = []
    for place in range(CALIBRATION_BINS):
        inside = places == place
        if inside.any():
            rows.append(
                {
                    "rows": int(inside.sum()),
                    "predicted": float(scores[inside].mean()),
                    "observed": float(truth[inside].mean()),
                }
            )
    return rows
