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
from privacyhub.engines.dp.count_noise import laplace_counts

OTHER = "other or missing"
REPLICATES = 300
LEAST_ROWS = 1.0
CLEAR_OF_NOISE = 3.0  # deviations of a group's total

Floats = NDArray[np.float64]
Cells = Literal["binary", "multiclass", "regression"]
Figures = Callable[[Floats], dict[str, Floats]]


def exact_group_errors(
    *,
    predicted: Floats,
    truth: Floats,
    groups: NDArray[np.int64],
    names: Sequence[str],
    task: Cells,
) -> list[dict[str, Any]]:
    """Figures of each group with 95% bootstrap intervals over its rows. Private.

    predicted, truth [rows]: class codes, or numbers. groups [rows]: places in `names`,
    len(names) for a row of no group. Rows without an answer are left out.
    """
    usable = np.isfinite(truth) & np.isfinite(predicted)
    predicted, truth, groups = predicted[usable], truth[usable], groups[usable]
    generator = np.random.default_rng(0)
    told = []
    for place, name in enumerate([*names, OTHER]):
        inside = groups == place
        count = int(inside.sum())
        if task == "regression":
            errors = np.abs(predicted[inside] - truth[inside])
            drawn = generator.integers(0, max(count, 1), (REPLICATES, count))
            values = _of_errors(errors[None, :])
            spread = _of_errors(errors[drawn])
        else:
            cells = _outcomes(predicted[inside], truth[inside], task)
            share = cells / max(count, 1)
            resampled = generator.multinomial(count, share, REPLICATES)
            figures = _of_binary if task == "binary" else _of_many
            values = figures(cells[None, :])
            spread = figures(np.asarray(resampled, dtype=np.float64))
        told.append(_group(name, count, values, spread))
    return told


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
    noisy = laplace_counts(exact, scale=scale).reshape(-1, kinds)
    generator = np.random.default_rng(0)  # post-processing: its seed is no secret
    least = CLEAR_OF_NOISE * scale * math.sqrt(2 * kinds)
    told = []
    for name, counts in zip([*names, OTHER], noisy, strict=True):
        drawn = generator.poisson(np.maximum(counts, 0), (REPLICATES, kinds))
        spread = drawn + generator.laplace(scale=scale, size=drawn.shape)
        count = max(0, round(float(counts.sum())))
        values = figures(counts[None, :] if count >= least else np.zeros((1, kinds)))
        told.append(_group(name, count, values, figures(spread)))
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


def _outcomes(predicted: Floats, truth: Floats, task: Cells) -> Floats:
    cells, kinds, _ = _cells(predicted, truth, task, 1.0)
    return np.bincount(cells, minlength=kinds).astype(np.float64)


def _of_binary(counts: Floats) -> dict[str, Floats]:
    """counts [n, 4]: true negative, false positive, false negative, true positive."""
    tn, fp, fn, tp = np.maximum(counts, 0).T
    return {
        "error": _share(fp + fn, tn + fp + fn + tp),
        "false_positive_rate": _share(fp, tn + fp),
        "false_negative_rate": _share(fn, fn + tp),
        "selection_rate": _share(fp + tp, tn + fp + fn + tp),
    }


def _of_many(counts: Floats) -> dict[str, Floats]:
    """counts [n, 2]: right, wrong."""
    right, wrong = np.maximum(counts, 0).T
    return {"error": _share(wrong, right + wrong)}


def _of_bins(counts: Floats, middles: Floats) -> dict[str, Floats]:
    """counts [n, bins] of the absolute error."""
    total = counts.sum(axis=1)
    square = np.maximum(_share((counts * middles**2).sum(axis=1), total), 0)
    mean = np.maximum(_share((counts * middles).sum(axis=1), total), 0)
    return {"rmse": np.sqrt(square), "mae": mean}


def _of_errors(errors: Floats) -> dict[str, Floats]:
    """errors [n, rows], absolute."""
    if not errors.shape[1]:
        nothing = np.full(len(errors), np.nan)
        return {"rmse": nothing, "mae": nothing}
    square = (errors**2).mean(axis=1)
    return {"rmse": np.sqrt(square), "mae": errors.mean(axis=1)}


def _share(part: Floats, whole: Floats) -> Floats:
    enough = whole >= LEAST_ROWS
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=enough)


def _group(
    name: str, rows: int, values: dict[str, Floats], spread: dict[str, Floats]
) -> dict[str, Any]:
    return {
        "group": name,
        "rows": rows,
        "metrics": {
            figure: _interval(float(value[0]), spread[figure])
            for figure, value in values.items()
        },
    }


def _interval(value: float, replicates: Floats) -> dict[str, float | None]:
    known = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or len(known) < 20:
        return {"value": None, "low": None, "high": None}
    low, high = np.quantile(known, (0.025, 0.975))
    return {
        "value": value,
        "low": min(float(low), value),
        "high": max(float(high), value),
    }
