"""Metrics of several classes and of numbers that may leave stewards.

Each held-out row is in one cell of one noisy histogram, as for a binary model (see
`histogram`): of several classes by true class, predicted class and bin of the top
score; of a regression by bin of its absolute error. Everything else follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.assess.histogram import (
    BINARY_FIGURES,
    BINS,
    binary_figures,
    noisy_score_histogram,
    score_edges,
)
from privacyhub.engines.assess.noisy_counts import (
    REPLICATES,
    Binned,
    NoisyCounts,
    curves,
    with_intervals,
)
from privacyhub.engines.dp.count_noise import laplace_counts

MOST_CELLS = 400  # noise adds up over cells: many classes have few bins each
MULTICLASS_FIGURES = (
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "right_auc",
)

Floats = NDArray[np.float64]


def bins_of(classes: int) -> int:
    """Bins of the top score, from the number of classes alone: even, 2 to `BINS`."""
    return max(2, min(BINS, MOST_CELLS // classes**2 // 2 * 2))


def released_multiclass(
    scores: Floats,
    truth: Floats,
    *,
    classes: Sequence[str],
    noise_multiplier: float,
    max_rows_per_unit: int = 1,
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """Metrics of class probabilities [rows, classes]; truth: class codes [rows].

    Charge one Laplace event of `noise_multiplier` first. "right": how well the top
    score tells right answers from wrong ones, as curves and by calibration.
    """
    count, bins = len(classes), bins_of(len(classes))
    usable = np.isfinite(truth) & np.isfinite(scores).all(axis=1)
    edges = score_edges(bins)
    cells = _cells(scores[usable], truth[usable], edges=edges)
    exact = np.bincount(cells, minlength=count**2 * bins)
    scale = noise_multiplier * max_rows_per_unit
    noisy = NoisyCounts(
        counts=laplace_counts(exact, scale=scale).reshape(count, count * bins),
        scale=scale,
        most_rows=max_rows_per_unit,
    )
    table = noisy.counts.reshape(count, count, bins).sum(axis=2)
    confusion = NoisyCounts(counts=table, scale=scale * math.sqrt(bins)).cleaned
    right = NoisyCounts(counts=_by_right(noisy.counts, bins=bins), scale=scale)
    return {
        "task": "multiclass",
        "rows": max(0, int(noisy.counts.sum())),
        "noise_deviation": noisy.deviation,
        "metrics": with_intervals(
            noisy,
            lambda counts: multiclass_figures(counts, bins=bins),
            names=MULTICLASS_FIGURES,
            replicates=replicates,
        ),
        "confusion": {
            "labels": list(classes),
            "counts": [[round(float(cell)) for cell in row] for row in confusion],
        },
        "right": curves(
            Binned(
                cleaned=right.cleaned,
                middle=_by_right(noisy.cleaned, bins=bins),
                drawn=[
                    _by_right(one, bins=bins) for one in noisy.replicates(replicates)
                ],
                deviation=noisy.deviation * count,  # of count**2 cells a bin
                most_rows=max_rows_per_unit,
                edges=edges,
            )
        ),
    }


def _cells(scores: Floats, truth: Floats, *, edges: Floats) -> NDArray[np.int64]:
    """Each row's cell by true class, predicted class and bin of the top score."""
    classes, bins = scores.shape[1], len(edges) - 1
    top = scores.max(axis=1, initial=0)
    places = np.clip(np.searchsorted(edges, top, side="right") - 1, 0, bins - 1)
    predicted = scores.argmax(axis=1)
    return (truth.astype(np.int64) * classes + predicted) * bins + places


def _by_right(counts: Floats, *, bins: int) -> Floats:
    """Wrong and right answers by bin, [2, bins]; counts [classes, classes * bins]."""
    table = counts.reshape(len(counts), len(counts), bins)
    right = table[np.arange(len(counts)), np.arange(len(counts))].sum(axis=0)
    return np.stack([table.sum(axis=(0, 1)) - right, right])


def multiclass_figures(counts: Floats, *, bins: int) -> list[float]:
    """`MULTICLASS_FIGURES` of counts [classes, classes * bins].

    Noisy counts are used as they are. A mean over classes leaves out a class that has
    less than one row.
    """
    table = counts.reshape(len(counts), len(counts), bins).sum(axis=2)
    hits: Floats = np.diag(table)
    truth, predicted, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    auc = binary_figures(_by_right(counts, bins=bins), cut=0)
    return [
        float(hits.sum() / total) if total >= 1 else math.nan,
        _mean_share(hits, predicted),
        _mean_share(hits, truth),
        _mean_share(hits + hits, predicted + truth),
        auc[BINARY_FIGURES.index("auc")],
    ]


def _mean_share(part: Floats, whole: Floats) -> float:
    known = whole >= 1
    if not known.any():
        return math.nan
    return float(np.clip(part[known] / whole[known], 0, 1).mean())


def released_regression(
    predicted: Floats,
    truth: Floats,
    *,
    lower: float,
    upper: float,
    noise_multiplier: float,
    max_rows_per_unit: int = 1,
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """RMSE and MAE of numbers [rows], in the target's unit, within its bounds.

    Charge one Laplace event of `noise_multiplier` first.
    """
    width = upper - lower
    error = np.clip(np.abs(predicted - np.clip(truth, lower, upper)) / width, 0, 1)
    histogram = noisy_score_histogram(
        error,
        np.zeros(len(error)),
        noise_multiplier=noise_multiplier,
        classes=1,
        max_rows_per_unit=max_rows_per_unit,
    )
    middles = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    return {
        "task": "regression",
        "rows": max(0, int(histogram.counts.sum())),
        "noise_deviation": histogram.deviation,
        "metrics": with_intervals(
            histogram.noisy,
            lambda counts: [width * one for one in error_figures(counts[0], middles)],
            names=("rmse", "mae"),
            replicates=replicates,
            most=width,
        ),
    }


def error_figures(counts: Floats, middles: Floats) -> tuple[float, float]:
    """Root mean square and mean of errors that were counted by bin."""
    total = counts.sum()
    if total < 1:
        return math.nan, math.nan
    square = max(0.0, float((counts * middles**2).sum() / total))
    return math.sqrt(square), max(0.0, float((counts * middles).sum() / total))
