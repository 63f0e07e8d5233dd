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

from privacyhub.engines.assess.noisy_counts import (
    REPLICATES,
    Binned,
    NoisyCounts,
    curves,
    with_intervals,
)
from privacyhub.engines.dp.count_noise import laplace_counts
from privacyhub.engines.dp.events import LaplaceEvent

BINS = 20
BINARY_FIGURES = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "auc",
    "average_precision",
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoreHistogram:
    """Noisy counts by class and bin, and what they cost.

    edges: [bins + 1], fixed before any row is read. counts: [classes, bins]; may be
    negative and fractional. deviation: the noise's standard deviation in each cell.
    most_rows: of one unit.
    """

    edges: Floats
    counts: Floats
    deviation: float
    event: LaplaceEvent
    most_rows: int = 1

    @property
    def noisy(self) -> NoisyCounts:
        return NoisyCounts(
            counts=self.counts,
            scale=self.deviation / math.sqrt(2),
            most_rows=self.most_rows,
        )


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
        most_rows=max_rows_per_unit,
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
    edges, noisy = histogram.edges, histogram.noisy
    cut = int(np.argmin(np.abs(edges - positive_rate_threshold)))
    smooth = noisy.cleaned
    return {
        "task": "binary",
        "rows": max(0, int(histogram.counts.sum())),
        "threshold": float(edges[cut]),
        "noise_deviation": histogram.deviation,
        "metrics": with_intervals(
            noisy,
            lambda counts: binary_figures(counts, cut=cut),
            names=BINARY_FIGURES,
            replicates=replicates,
        ),
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
        **curves(
            Binned(
                cleaned=smooth,
                middle=smooth,
                drawn=list(noisy.replicates(replicates)),
                deviation=histogram.deviation,
                most_rows=histogram.most_rows,
                edges=edges,
            )
        ),
    }


def binary_figures(counts: Floats, *, cut: int) -> list[float]:
    """`BINARY_FIGURES` of counts [2, bins]; `cut`: the first bin that is positive.

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
