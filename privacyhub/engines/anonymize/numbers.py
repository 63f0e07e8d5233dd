"""Changes to numbers: microaggregation, coding, rounding, noise, rank swapping.

Microaggregation in groups of k makes the changed columns k-anonymous together. The
others keep to no formal model, which `FORMAL` says, so that pages can.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from .errors import AnonymizeError
from .keys import Floats, Ints

FORMAL = {
    "microaggregate": True,
    "code_extremes": False,
    "round_to": False,
    "add_noise": False,
    "swap_ranks": False,
}
AGGREGATES = ("mean", "median", "mode", "interval")


def microaggregate(
    frame: pl.DataFrame, columns: list[str], *, k: int, aggregate: str = "mean"
) -> pl.DataFrame:
    """Groups of at least k similar rows share one value a column.

    MDAV (Domingo-Ferrer and Torra, 2005) on standardized columns: k rows around the
    row furthest from the centre, k around the row furthest from that, and so on.
    `aggregate`: mean, median, mode, or "interval" (text from least to greatest).
    Missing values are not taken in: raises AnonymizeError with the row.
    """
    if aggregate not in AGGREGATES:
        raise AnonymizeError(f"The aggregate must be one of {', '.join(AGGREGATES)}.")
    if not 1 <= k <= frame.height:
        raise AnonymizeError("k must be at least 1 and at most the number of rows.")
    values = np.column_stack([_numbers(frame, name) for name in columns])
    spread = values.std(axis=0)
    groups = _mdav((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1), k)
    out = frame
    for j, name in enumerate(columns):
        new = _aggregated(values[:, j], groups, aggregate=aggregate)
        out = out.with_columns(pl.Series(name, new))
    return out


def _mdav(points: Floats, k: int) -> list[Ints]:
    left = np.arange(len(points))
    groups: list[Ints] = []

    def take(centre: Floats) -> None:
        nonlocal left
        order = np.argsort(_distances(points[left], centre), kind="stable")
        groups.append(left[order[:k]])
        left = np.sort(left[order[k:]])

    while len(left) >= 3 * k:
        middle = points[left].mean(axis=0)
        far = points[left[np.argmax(_distances(points[left], middle))]]
        take(far)
        take(points[left[np.argmax(_distances(points[left], far))]])
    if len(left) >= 2 * k:
        middle = points[left].mean(axis=0)
        take(points[left[np.argmax(_distances(points[left], middle))]])
    if len(left):
        groups.append(left)
    return groups


def _distances(points: Floats, centre: Floats) -> Floats:
    difference = points - centre
    squares: Floats = np.einsum("ij,ij->i", difference, difference)
    return squares


def _aggregated(
    values: Floats, groups: list[Ints], *, aggregate: str
) -> Floats | list[str]:
    if aggregate == "interval":
        text = [""] * len(values)
        for rows in groups:
            low, high = values[rows].min(), values[rows].max()
            label = f"[{low:g}, {high:g}]"
            for row in rows:
                text[row] = label
        return text
    out = np.empty(len(values))
    for rows in groups:
        part = values[rows]
        if aggregate == "mean":
            out[rows] = part.mean()
        elif aggregate == "median":
            out[rows] = np.median(part)
        else:
            known, counts = np.unique(part, return_counts=True)
            out[rows] = known[np.argmax(counts)]
    return out


def code_extremes(
    series: pl.Series, *, bottom: float | None = None, top: float | None = None
) -> pl.Series:
    """Top and bottom coding: values beyond a bound become the bound."""
    if bottom is None and top is None:
        raise AnonymizeError("Give a lower bound, an upper bound, or both.")
    if bottom is not None and top is not None and bottom > top:
        raise AnonymizeError("The lower bound must not be above the upper bound.")
    _check_numeric(series)
    return series.clip(bottom, top)


def round_to(series: pl.Series, *, step: float) -> pl.Series:
    """To the nearest multiple of a step, halves to even."""
    if not (math.isfinite(step) and step > 0):
        raise AnonymizeError("The rounding step must be above 0.")
    _check_numeric(series)
    rounded = np.round(series.cast(pl.Float64).to_numpy() / step) * step
    return pl.Series(series.name, rounded, nan_to_null=True)


def add_noise(
    series: pl.Series, *, share: float, rng: np.random.Generator | None = None
) -> pl.Series:
    """Normal noise with `share` times the column's standard deviation."""
    if not (math.isfinite(share) and share > 0):
        raise AnonymizeError("The share of noise must be above 0.")
    _check_numeric(series)
    rng = np.random.default_rng() if rng is None else rng
    values = series.cast(pl.Float64).to_numpy()
    scale = share * float(np.nanstd(values)) if len(values) else 0.0
    noisy = values + rng.normal(0.0, scale, len(values))
    return pl.Series(series.name, noisy, nan_to_null=True)


def swap_ranks(
    series: pl.Series, *, share: float, rng: np.random.Generator | None = None
) -> pl.Series:
    """Swap values with others whose rank differs by at most `share` of the rows.

    The column keeps its values and so its distribution; missing values stay.
    """
    if not 0 < share <= 1:
        raise AnonymizeError("The share of ranks must be above 0 and at most 1.")
    rng = np.random.default_rng() if rng is None else rng
    at = np.flatnonzero(series.is_not_null().to_numpy())
    ranked = at[series.gather(at).arg_sort().to_numpy()]
    reach = max(1, int(share * len(ranked)))
    source = np.arange(len(series))
    free = np.ones(len(ranked), dtype=bool)
    for i in range(len(ranked)):
        if not free[i]:
            continue
        near = np.flatnonzero(free[i + 1 : i + 1 + reach]) + i + 1
        free[i] = False
        if len(near):
            j = int(rng.choice(near))
            free[j] = False
            a, b = ranked[i], ranked[j]
            source[a], source[b] = b, a
    return series.gather(source)


def _check_numeric(series: pl.Series) -> None:
    if not series.dtype.is_numeric():
        raise AnonymizeError(f"Column {series.name} does not hold numbers.")


def _numbers(frame: pl.DataFrame, name: str) -> Floats:
    if name not in frame.columns:
        raise AnonymizeError(f"Column {name} is missing.")
    _check_numeric(frame[name])
    values: Floats = frame[name].cast(pl.Float64).to_numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise AnonymizeError(
            f"Column {name}, row {int(bad[0]) + 1}: microaggregation needs a number "
            f"({len(bad)} rows have none)."
        )
    return values
