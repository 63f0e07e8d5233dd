"""The error of a model in each declared group: exact, or from one noisy histogram.

A classification counts rows by group and by outcome: [groups, 4] cells of true and
predicted class for two classes, [groups, 2] of right and wrong for more. A regression
counts the absolute error in bins. Each row is in one cell, so Laplace noise of scale
m / epsilon on every cell (m rows a unit) costs epsilon once, with delta 0. The groups
are declared; a row of none of them is in the last group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.assess.histogram import score_edges
from privacyhub.engines.assess.noisy_counts import REPLICATES, NoisyCounts, interval
from privacyhub.engines.assess.resampling import Units, resampled_weights
from privacyhub.engines.dp.count_noise import laplace_counts

OTHER = "other or missing"
LEAST_ROWS = 1.0
CLEAR_OF_NOISE = 3.0  # deviations of a group's total

Floats = NDArray[np.float64]
Cells = Literal["binary", "multiclass", "regression"]
Figures = Callable[[Floats], dict[str, Floats]]
Sums = Callable[[Floats, int], Floats]


def exact_group_errors(
    *,
    predicted: Floats,
    truth: Floats,
    groups: NDArray[np.int64],
    names: Sequence[str],
    task: Cells,
    units: Units | None = None,
) -> list[dict[str, Any]]:
    """Figures of each group with 95% bootstrap intervals over units. Private.

    predicted, truth [rows]: class codes, or numbers. groups [rows]: places in `names`,
    len(names) for a row of no group. units [rows]: as `metrics` takes them. Rows
    without an answer are left out.
    """
    usable = np.isfinite(truth) & np.isfinite(predicted)
    predicted, truth, groups = predicted[usable], truth[usable], groups[usable]
    units = None if units is None else units[usable]
    if task == "regression":
        figures: Figures = _of_errors
        sums = _sums_of_errors(np.abs(predicted - truth), groups)
    else:
        outcome, kinds, figures = _cells(predicted, truth, task, 1.0)
        sums = _sums_of_cells(groups * kinds + outcome, kinds)
    size = len(names) + 1
    drawn = resampled_weights(rows=len(truth), units=units, replicates=REPLICATES)
    told = sums(np.ones(len(truth)), size)
    spread = np.stack([sums(weights, size) for weights in drawn])
    counts = np.bincount(groups, minlength=size)
    return [
        _group(
            name,
            int(counts[k]),
            figures(told[None, k]),
            figures(spread[:, k]),
            task=task,
        )
        for k, name in enumerate([*names, OTHER])
    ]


def _sums_of_cells(cells: NDArray[np.int64], kinds: int) -> Sums:
    """Rows by group and outcome, [groups, kinds], under weights of the rows."""

    def sums(weights: Floats, groups: int) -> Floats:
        counted = np.bincount(cells, weights=weights, minlength=groups * kinds)
        return counted.reshape(groups, kinds).astype(np.float64)

    return sums


def _sums_of_errors(errors: Floats, groups: NDArray[np.int64]) -> Sums:
    """Rows, squares and sums of their errors by group, [groups, 3]."""

    def sums(weights: Floats, count: int) -> Floats:
        parts = (weights, weights * errors**2, weights * errors)
        return np.stack(
            [np.bincount(groups, weights=part, minlength=count) for part in parts],
            axis=1,
        )

    return sums


def released_group_errors(
    *,
    predicted: Floats,
    truth: Floats,
    groups: NDArray[np.int64],
    names: Sequence[str],
    task: Cells,
    noise_multiplier: float,
    max_rows_per_unit: int = 1,
    width: float = 1.0,
) -> list[dict[str, Any]]:
    """The same figures from noisy counts, with intervals that include the noise.

    width: of a regression's bounds, which its absolute error is clipped to. Charge one
    Laplace event of `noise_multiplier` first. A group whose noisy count does not stand
    above the noise has no figure.
    """
    usable = np.isfinite(truth) & np.isfinite(predicted)
    predicted, truth, groups = predicted[usable], truth[usable], groups[usable]
    outcome, kinds, figures = _cells(predicted, truth, task, width)
    size = (len(names) + 1) * kinds
    exact = np.bincount(groups * kinds + outcome, minlength=size)
    scale = noise_multiplier * max_rows_per_unit
    noisy = NoisyCounts(
        counts=laplace_counts(exact, scale=scale).reshape(-1, kinds),
        scale=scale,
        most_rows=max_rows_per_unit,
    )
    least = CLEAR_OF_NOISE * noisy.deviation * math.sqrt(kinds)
    middle, spread = noisy.cleaned, np.stack(list(noisy.replicates(REPLICATES)))
    told = []
    for place, name in enumerate([*names, OTHER]):
        counts = noisy.counts[place]
        count = max(0, round(float(counts.sum())))
        values = figures(counts[None, :] if count >= least else np.zeros((1, kinds)))
        shift = figures(middle[None, place])
        drawn = figures(spread[:, place])
        centred = {name: drawn[name] - shift[name] + values[name] for name in drawn}
        told.append(_group(name, count, values, centred, task=task))
    return told


def _cells(
    predicted: Floats, truth: Floats, task: Cells, width: float
) -> tuple[NDArray[np.int64], int, Figures]:
    """Each row's cell in its group, how many cells a group has, and their figures."""
    if task == "binary":
        return (truth * 2 + predicted).astype(np.int64), 4, _of_binary
    if task == "multiclass":
        return (truth != predicted).astype(np.int64), 2, _of_many
    edges = score_edges()
    share = np.clip(np.abs(predicted - truth) / width, 0, 1)
    bins = len(edges) - 1
    place = np.clip(np.searchsorted(edges, share, side="right") - 1, 0, bins - 1)
    middles = (edges[:-1] + edges[1:]) / 2 * width
    return place.astype(np.int64), bins, lambda counts: _of_bins(counts, middles)


def _of_binary(counts: Floats) -> dict[str, Floats]:
    """counts [n, 4]: true negative, false positive, false negative, true positive."""
    tn, fp, fn, tp = counts.T
    return {
        "error": _share(fp + fn, tn + fp + fn + tp),
        "false_positive_rate": _share(fp, tn + fp),
        "false_negative_rate": _share(fn, fn + tp),
        "selection_rate": _share(fp + tp, tn + fp + fn + tp),
    }


def _of_many(counts: Floats) -> dict[str, Floats]:
    """counts [n, 2]: right, wrong."""
    right, wrong = counts.T
    return {"error": _share(wrong, right + wrong)}


def _of_bins(counts: Floats, middles: Floats) -> dict[str, Floats]:
    """counts [n, bins] of the absolute error."""
    total = counts.sum(axis=1)
    square = np.maximum(_share((counts * middles**2).sum(axis=1), total), 0)
    mean = np.maximum(_share((counts * middles).sum(axis=1), total), 0)
    return {"rmse": np.sqrt(square), "mae": mean}


def _of_errors(sums: Floats) -> dict[str, Floats]:
    """sums [n, 3]: rows, their squared errors, their errors."""
    rows, squares, errors = sums.T
    return {"rmse": np.sqrt(_share(squares, rows)), "mae": _share(errors, rows)}


def _share(part: Floats, whole: Floats) -> Floats:
    enough = whole >= LEAST_ROWS
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=enough)


def _group(
    name: str,
    rows: int,
    values: dict[str, Floats],
    spread: dict[str, Floats],
    *,
    task: Cells,
) -> dict[str, Any]:
    most = math.inf if task == "regression" else 1.0
    return {
        "group": name,
        "rows": rows,
        "metrics": {
            figure: interval(float(value[0]), spread[figure], most=most)
            for figure, value in values.items()
        },
    }
