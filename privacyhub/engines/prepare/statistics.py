"""Bounds, knots and category domains of columns, found with differential privacy.

One noisy histogram a column. Numbers are counted over a grid that does not depend on
the data (logarithmic in both signs; dates by year), so only the Gaussian event is
paid. A category's name is data too: a name is kept when its noisy count passes a
threshold, which costs an additive delta (stability-based histograms, Bun, Nissim and
Stemmer, arXiv 1511.08552).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from privacyhub.engines.dp.accounting import noise_multiplier_for
from privacyhub.engines.dp.count_noise import noisy_counts
from privacyhub.engines.dp.events import GaussianEvent
from privacyhub.engines.prepare.encoding import (
    ColumnSpec,
    Kind,
    as_numbers,
    as_texts,
    default_knots,
)

BINS_A_DECADE = 20
SMALLEST = 1e-3
DECADES = 13
FIRST_YEAR, LAST_YEAR = 1850, 2150
KNOTS = 12
MOST_KNOTS = 2 * KNOTS  # both bounds, and KNOTS - 1 quantiles twice
MOST_NAMES = 10_000
_EPOCH = date(1970, 1, 1)
# A bin counts as occupied from this many standard deviations of the noise.
_OCCUPIED = 4.0


@dataclass(frozen=True, kw_only=True)
class ColumnStatistics:
    """The columns found, and what finding them cost.

    event is None and additive_delta 0 when no column had to be read.
    """

    columns: list[ColumnSpec]
    event: GaussianEvent | None
    additive_delta: float


def statistics_noise_multiplier(
    *, target_epsilon: float, delta: float, columns: int, share: float = 0.1
) -> float:
    """The noise a column with which all take this share of a run's budget.

    Shares are of mu squared, the currency in which Gaussian mechanisms add up.
    """
    if not 0 < share < 1:
        raise ValueError("The share must lie between 0 and 1.")
    single = noise_multiplier_for(
        target_epsilon=target_epsilon, delta=delta, sampling_probability=1.0, steps=1
    )
    return single * math.sqrt(max(1, columns) / share)


def reads_rows(kind: Kind) -> bool:
    """Whether finding a column's specification reads (and pays for) its rows."""
    return kind != "boolean"


def dp_column_statistics(
    frame: pl.DataFrame,
    kinds: Mapping[str, Kind],
    *,
    noise_multiplier: float,
    delta_share: float,
    max_rows_per_unit: int = 1,
) -> ColumnStatistics:
    """Find the specification of each column in `kinds`, in that order.

    frame: the rows of the units that pay, at most `max_rows_per_unit` a unit.
    noise_multiplier: standard deviation a column, in units of `max_rows_per_unit`.
    delta_share: the additive delta that all category columns may take together.
    The result has the same columns whatever the rows hold; a category column's domain
    may come out empty, and then only "unknown" and "missing" are left of it. It holds
    at most the `MOST_NAMES` names of the largest noisy counts.
    """
    if not 0 < delta_share < 1:
        raise ValueError("The delta share must lie between 0 and 1.")
    missing = [name for name in kinds if name not in frame.columns]
    if missing:
        raise ValueError(f"Missing columns: {', '.join(missing)}.")
    deviation = noise_multiplier * max_rows_per_unit
    named = sum(kind == "category" for kind in kinds.values())
    read = sum(reads_rows(kind) for kind in kinds.values())
    columns = []
    for name, kind in kinds.items():
        if kind == "category":
            columns.append(
                _category(
                    frame[name],
                    deviation=deviation,
                    delta=delta_share / named,
                    max_rows_per_unit=max_rows_per_unit,
                )
            )
        elif kind == "boolean":
            columns.append(ColumnSpec(name=name, kind=kind, source="dp"))
        else:
            columns.append(_number(frame[name], kind=kind, deviation=deviation))
    return ColumnStatistics(
        columns=columns,
        event=GaussianEvent(noise_multiplier=noise_multiplier, count=read)
        if read
        else None,
        additive_delta=delta_share if named else 0.0,
    )


def name_threshold(
    *, deviation: float, delta: float, max_rows_per_unit: int = 1
) -> float:
    """The noisy count from which a name may be told.

    A name that only one unit brings has a count of at most m; there are at most m such
    names, and each passes with probability at most delta / m. The discrete Gaussian's
    tail is covered by rounding up and one count more.
    """
    tail = -NormalDist().inv_cdf(delta / max_rows_per_unit)
    return math.ceil(max_rows_per_unit + deviation * tail) + 1


def delta_of_names(
    *,
    additive_delta: float,
    readings: Sequence[GaussianEvent],
    max_rows_per_unit: int,
    size: int,
) -> float:
    """The part of delta that names take for `size` units that change together.

    Units that alone bring a name have a count of at most k m together, and bring at
    most k m such names, each of which passes its threshold with probability
    sf(t - (k - 1) / z) where one unit's passes with sf(t) = d / m. additive_delta: of
    one unit, over all readings. A reading's count of columns is at least that of its
    names, and more columns make the bound larger: sf(sf^-1(d) - s) is concave in d, at
    one s for all, which is that of the least noise.
    """
    if not additive_delta:
        return 0.0
    columns = sum(reading.count for reading in readings)
    each = additive_delta / columns / max_rows_per_unit
    shift = (size - 1) / min(reading.noise_multiplier for reading in readings)
    # Not by NormalDist, whose tail ends at 5e-17.
    passes = float(ndtr(ndtri(each) + shift))
    return columns * size * max_rows_per_unit * passes


def _category(
    series: pl.Series, *, deviation: float, delta: float, max_rows_per_unit: int
) -> ColumnSpec:
    texts = as_texts(series).rename("name")  # the column may be called "rows"
    counted = texts.drop_nulls().value_counts(name="rows")
    names = counted["name"].to_list()
    threshold = name_threshold(
        deviation=deviation, delta=delta, max_rows_per_unit=max_rows_per_unit
    )
    noisy = noisy_counts(counted["rows"].to_numpy(), deviation=deviation)
    kept = [
        (-count, name)
        for name, count in zip(names, noisy.tolist(), strict=True)
        if count > threshold
    ]
    fullest = sorted(name for _, name in sorted(kept)[:MOST_NAMES])
    return ColumnSpec(
        name=series.name, kind="category", categories=tuple(fullest), source="dp"
    )


def _grid(kind: Kind) -> NDArray[np.float64]:
    """Increasing bin edges that do not depend on the data."""
    if kind == "date":
        years = range(FIRST_YEAR, LAST_YEAR + 1)
        return np.array([float((date(year, 1, 1) - _EPOCH).days) for year in years])
    positive = SMALLEST * 10 ** (np.arange(DECADES * BINS_A_DECADE + 1) / BINS_A_DECADE)
    return np.concatenate([-positive[::-1], positive])


def _number(series: pl.Series, *, kind: Kind, deviation: float) -> ColumnSpec:
    edges = _grid(kind)
    numbers = as_numbers(series, kind=kind)
    numbers = np.clip(numbers[np.isfinite(numbers)], edges[0], edges[-1])
    places = np.clip(
        np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2
    )
    counts = np.bincount(places, minlength=len(edges) - 1)
    noisy = noisy_counts(counts, deviation=deviation)
    occupied = np.flatnonzero(noisy > _OCCUPIED * deviation)
    if not len(occupied):
        occupied = np.array([int(np.argmax(noisy))])
    lower, upper = float(edges[occupied[0]]), float(edges[occupied[-1] + 1])
    mass = np.zeros(len(noisy))
    mass[occupied] = np.maximum(noisy[occupied], 1)
    return ColumnSpec(
        name=series.name,
        kind=kind,
        lower=lower,
        upper=upper,
        knots=_knots(edges, mass, lower=lower, upper=upper),
        source="dp",
    )


def _knots(
    edges: NDArray[np.float64],
    mass: NDArray[np.float64],
    *,
    lower: float,
    upper: float,
) -> tuple[float, ...]:
    """Quantiles of the noisy histogram, merged where they lie too close.

    Half of the knots follow the quantiles of all rows, half those of the rows beside
    the fullest bin, so that a pile (such as zeros) does not take every knot.
    """
    found = [lower, upper]
    for weights in (mass, np.where(mass == mass.max(), 0, mass)):
        total = weights.sum()
        if total <= 0:
            continue
        cumulative = np.concatenate([[0.0], np.cumsum(weights) / total])
        levels = np.arange(1, KNOTS) / KNOTS
        found.extend(np.interp(levels, cumulative, edges).tolist())
    knots = np.unique(np.clip(found, lower, upper))
    gap = (upper - lower) * 1e-6
    knots = knots[np.concatenate([[True], np.diff(knots) > gap])]
    return tuple(knots.tolist()) if len(knots) > 1 else default_knots(lower, upper)
