"""Metrics that may leave stewards: post-processing of one noisy histogram of scores.

Held-out rows are counted by class and by bin of their score. Each row is in one cell,
so Laplace noise of scale 1 / epsilon on every cell costs epsilon once, with delta 0:
for one histogram at a small epsilon that is less than half the noise of a Gaussian.
AUC, ROC, PR, confusion, calibration and accuracy follow from the noisy counts and cost
nothing more. Intervals cover both the noise and the drawing of the rows (parametric
bootstrap over the noisy counts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.count_noise import laplace_counts
from privacyhub.engines.dp.events import LaplaceEvent

BINS = 20
REPLICATES = 300

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoreHistogram:
    """Noisy counts by class and bin, and what they cost.

    edges: [bins + 1], fixed before any row is read. counts: [classes, bins]; may be
    negative and fractional. deviation: the noise's standard deviation in each cell.
    """

    edges: Floats
    counts: Floats
    deviation: float
    event: LaplaceEvent

    def to_dict(self) -> dict[str, Any]:
        return {
            "edges": self.edges.tolist(),
            "counts": self.counts.tolist(),
            "deviation": self.deviation,
            "event": self.event.to_dict(),
        }


def metrics_noise_multiplier(*, epsilon: float) -> float:
    """The noise with which one histogram costs `epsilon`, at any delta."""
    if not math.isfinite(epsilon) or epsilon <= 0:
        raise ValueError("The epsilon of metrics must be a positive finite number.")
    return 1 / epsilon


def score_edges(bins: int = BINS) -> Floats:
    """Bin edges in [0, 1], denser towards both ends, with one at one half.

    They are even on the arcsine scale, on which a share's spread is constant.
    """
    if bins < 2 or bins % 2:
        raise ValueError("The number of bins must be even and at least 2.")
    edges = np.sin(np.pi / 2 * np.arange(bins + 1) / bins) ** 2
    edges[bins // 2] = 0.5
    return edges


def noisy_score_histogram(
    scores: Floats,
    labels: NDArray[Any],
    *,
    noise_multiplier: float,
    classes: int = 2,
    bins: int = BINS,
    max_rows_per_unit: int = 1,
) -> ScoreHistogram:
    """Count held-out rows by class and score, with noise.

    scores [rows] in [0, 1]: the positive class's probability (binary), or the
    probability of the predicted class. labels [rows]: class codes; for multi-class use
    `classes=2` with "was the prediction right". A row whose score or label is not
    finite is not counted.
    """
    scores = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(labels, dtype=np.float64)
    usable = np.isfinite(scores) & np.isfinite(labels)
    codes = np.clip(labels[usable].astype(np.int64), 0, classes - 1)
    edges = score_edges(bins)
    places = np.clip(
        np.searchsorted(edges, scores[usable], side="right") - 1, 0, bins - 1
    )
    exact = np.bincount(codes * bins + places, minlength=classes * bins)
    scale = noise_multiplier * max_rows_per_unit
    return ScoreHistogram(
        edges=edges,
        counts=laplace_counts(exact, scale=scale).reshape(classes, bins),
        deviation=math.sqrt(2) * scale,
        event=LaplaceEvent(noise_multiplier=noise_multiplier, count=1),
    )


def released_metrics(
    histogram: ScoreHistogram,
    *,
    positive_rate_threshold: float = 0.5,
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """Metrics of a binary model from its noisy histogram, in the form of `metrics`.

    The threshold is moved to the nearest bin edge. Every figure has an interval that
    includes the noise; figures without enough rows are None.
    """
    edges, counts = histogram.edges, histogram.counts
    cut = int(np.argmin(np.abs(edges - positive_rate_threshold)))
    names = ("accuracy", "precision", "recall", "f1", "auc", "average_precision")
    values = _figures(counts, cut=cut)
    spread = _replicated(histogram, cut=cut, replicates=replicates)
    metrics: dict[str, dict[str, float | None]] = {}
    for column, name in enumerate(names):
        known = spread[:, column][np.isfinite(spread[:, column])]
        # Basic bootstrap: the replicates are centred on the noisy figure.
        metrics[name] = {"value": None, "low": None, "high": None}
        if np.isfinite(values[column]) and len(known) > 20:
            low, high = np.clip(np.quantile(known, (0.025, 0.975)), 0, 1)
            metrics[name] = {
                "value": float(np.clip(values[column], 0, 1)),
                "low": float(low),
                "high": float(high),
            }
    smooth = _cleaned(counts, histogram.deviation)
    negatives, positives = smooth.sum(axis=1)
    tp = np.append(0, np.cumsum(smooth[1, ::-1]))
    fp = np.append(0, np.cumsum(smooth[0, ::-1]))
    chosen = tp + fp
    kept = chosen > 0
    return {
        "task": "binary",
        "rows": max(0, int(counts.sum())),
        "threshold": float(edges[cut]),
        "noise_deviation": histogram.deviation,
        "metrics": metrics,
        "confusion": {
            "labels": ["0", "1"],
            "counts": [
                [
                    round(float(smooth[k, :cut].sum())),
                    round(float(smooth[k, cut:].sum())),
                ]
                for k in (0, 1)
            ],
        },
        "roc": {
            "fpr": (fp / negatives).tolist() if negatives > 0 else [],
            "tpr": (tp / positives).tolist() if positives > 0 else [],
        },
        "pr": {
            "recall": (tp[kept] / positives).tolist() if positives > 0 else [],
            "precision": (tp[kept] / chosen[kept]).tolist(),
        },
        "calibration": _calibration(smooth, edges, histogram.deviation),
    }


def _figures(counts: Floats, *, cut: int) -> list[float]:
    """Accuracy, precision, recall, F1, AUC and average precision of counts [2, bins].

    Noisy counts are used as they are: clipping each at zero would bias the sums.
    """
    negative, positive = counts
    negatives, positives = negative.sum(), positive.sum()
    if negatives <= 0 or positives <= 0:
        return [float("nan")] * 6
    tp, fp = positive[cut:].sum(), negative[cut:].sum()
    below = np.cumsum(negative) - negative
    auc = (positive * (below + negative / 2)).sum() / (positives * negatives)
    taken_tp = np.cumsum(positive[::-1])
    taken = np.maximum(taken_tp + np.cumsum(negative[::-1]), 1)
    average = (positive[::-1] * np.clip(taken_tp / taken, 0, 1)).sum() / positives
    return [
        float((tp + negatives - fp) / (positives + negatives)),
        float(tp / (tp + fp)) if tp + fp > 0 else float("nan"),
        float(tp / positives),
        float(2 * tp / (tp + fp + positives)) if tp + fp + positives > 0 else np.nan,
        float(auc),
        float(average),
    ]


def _cleaned(counts: Floats, deviation: float) -> Floats:
    """Counts without negatives, each class scaled back to its noisy total."""
    kept = np.where(counts > deviation, counts, np.maximum(counts, 0))
    totals = np.maximum(counts.sum(axis=1), 0)
    sums = kept.sum(axis=1)
    scale = np.divide(totals, sums, out=np.zeros(2), where=sums > 0)
    return kept * scale[:, None]


def _replicated(histogram: ScoreHistogram, *, cut: int, replicates: int) -> Floats:
    """Figures of histograms drawn from the noisy one, with fresh noise."""
    # The figures are post-processing: their seed is no secret.
    generator = np.random.default_rng(0)
    means = _cleaned(histogram.counts, histogram.deviation)
    drawn = generator.poisson(means, size=(replicates, *means.shape)).astype(np.float64)
    drawn += generator.laplace(
        scale=histogram.deviation / math.sqrt(2), size=drawn.shape
    )
    figures = np.array([_figures(one, cut=cut) for one in drawn])
    centre = np.array(_figures(histogram.counts, cut=cut))
    middle = np.array(_figures(means, cut=cut))
    return figures - middle + centre


def _calibration(
    smooth: Floats, edges: Floats, deviation: float
) -> list[dict[str, Any]]:
    """Observed share a bin against its middle, for bins that stand above the noise."""
    rows = []
    for place in range(smooth.shape[1]):
        inside = smooth[:, place].sum()
        if inside > 3 * deviation:
            share = smooth[1, place] / inside
            error = np.hypot(deviation / inside, np.sqrt(share * (1 - share) / inside))
            rows.append(
                {
                    "rows": round(float(inside)),
                    "predicted": float((edges[place] + edges[place + 1]) / 2),
                    "observed": float(share),
                    "low": float(max(0.0, share - 1.96 * error)),
                    "high": float(min(1.0, share + 1.96 * error)),
                }
            )
    return rows
