"""Figures of noisy counts, with intervals that cover the noise and the drawing of rows.

Noisy counts are used as they are: clipping each at zero would bias the sums of many.
Only what must not be negative (the rates of a Poisson draw, the points of a curve)
comes from counts that are cleaned. Replicates are drawn around the cleaned counts and
centred on the noisy figure (basic bootstrap), so that cleaning shifts no interval.

Rows of one unit may be alike. A replicate draws as though each unit brought its m rows
into one cell, the widest that they can spread: exact for m = 1, cautious above.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPLICATES = 300
FEWEST_KNOWN = 20  # replicates that have the figure
CLEAR_OF_NOISE = 3.0  # deviations of a bin

Floats = NDArray[np.float64]
Interval = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class NoisyCounts:
    """counts: [groups, cells], may be negative. scale: of the Laplace noise in a cell.

    most_rows: how many rows of one unit were counted at most, m.
    """

    counts: Floats
    scale: float
    most_rows: int = 1

    @property
    def deviation(self) -> float:
        """The noise's standard deviation in each cell."""
        return math.sqrt(2) * self.scale

    @property
    def cleaned(self) -> Floats:
        """Counts without negatives, each group scaled back to its noisy total."""
        kept = np.maximum(self.counts, 0)
        totals = np.maximum(self.counts.sum(axis=1), 0)
        sums = kept.sum(axis=1)
        scale = np.divide(totals, sums, out=np.zeros(len(sums)), where=sums > 0)
        return kept * scale[:, None]

    def replicates(self, number: int = REPLICATES) -> Iterator[Floats]:
        """Counts like these, of other rows and with fresh noise."""
        # What follows is post-processing: its seed is no secret.
        generator = np.random.default_rng(0)
        rates = self.cleaned / self.most_rows
        for _ in range(number):
            drawn = self.most_rows * generator.poisson(rates).astype(np.float64)
            yield drawn + generator.laplace(scale=self.scale, size=rates.shape)


def with_intervals(
    noisy: NoisyCounts,
    figures: Callable[[Floats], Sequence[float]],
    *,
    names: Sequence[str],
    replicates: int = REPLICATES,
    most: float = 1.0,
) -> dict[str, Interval]:
    """Each figure of the counts with its 95% interval, all clipped to [0, most].

    figures: of counts [groups, cells], in the order of `names`; NaN where there is
    none, and then its value is None.
    """
    values = np.asarray(figures(noisy.counts), dtype=np.float64)
    middle = np.asarray(figures(noisy.cleaned), dtype=np.float64)
    drawn = [figures(one) for one in noisy.replicates(replicates)]
    spread = np.asarray(drawn, dtype=np.float64).reshape(replicates, len(names))
    spread += values - middle
    return {
        name: interval(values[k], spread[:, k], most=most)
        for k, name in enumerate(names)
    }


def interval(value: float, spread: Floats, *, most: float) -> Interval:
    """A figure with the 95% interval of its replicates, clipped to [0, most].

    None where the whole interval lies outside: clipped to one end it would look sure,
    and it is nothing but noise.
    """
    known = spread[np.isfinite(spread)]
    unknown: Interval = {"value": None, "low": None, "high": None}
    if not math.isfinite(value) or len(known) <= FEWEST_KNOWN:
        return unknown
    low, high = np.quantile(known, (0.025, 0.975))
    if max(high, value) < 0 or min(low, value) > most:
        return unknown
    told = {"value": value, "low": min(low, value), "high": max(high, value)}
    return {name: float(np.clip(one, 0, most)) for name, one in told.items()}


@dataclass(frozen=True, kw_only=True)
class Binned:
    """Negatives and positives by bin of their score, [2, bins], for curves.

    cleaned: without negatives. drawn: replicates, around `middle`. deviation: the
    noise's in one bin, of negatives and positives together. edges: [bins + 1].
    """

    cleaned: Floats
    drawn: Sequence[Floats]
    middle: Floats
    deviation: float
    most_rows: int
    edges: Floats


def curves(binned: Binned) -> dict[str, Any]:
    """ROC, precision and recall, and calibration, as `metrics` has them.

    "low" and "high" of a curve are the 95% interval of its height at the same
    threshold.
    """
    tp, fp = _passing(binned.cleaned)
    middle_tp, middle_fp = _passing(binned.middle)
    passing = [_passing(one) for one in binned.drawn]
    drawn_tp = np.array([one for one, _ in passing]).reshape(-1, len(tp))
    drawn_fp = np.array([one for _, one in passing]).reshape(-1, len(tp))
    told: dict[str, Any] = {
        "roc": {"fpr": [], "tpr": []},
        "pr": {"recall": [], "precision": []},
        "calibration": _calibration(binned),
    }
    if tp[-1] > 0:
        recall = tp / tp[-1]
        chosen = tp + fp
        kept = chosen > 0
        precision = tp[kept] / chosen[kept]
        spread = _shares(drawn_tp, drawn_tp + drawn_fp) - _shares(
            middle_tp, middle_tp + middle_fp
        )
        told["pr"] = {
            "recall": recall[kept].tolist(),
            "precision": precision.tolist(),
            **_band(precision, spread[:, kept]),
        }
        if fp[-1] > 0:
            spread = _shares(drawn_tp, drawn_tp[:, -1:]) - _shares(
                middle_tp, middle_tp[-1:]
            )
            told["roc"] = {
                "fpr": (fp / fp[-1]).tolist(),
                "tpr": recall.tolist(),
                **_band(recall, spread),
            }
    return told


def _passing(counts: Floats) -> tuple[Floats, Floats]:
    """Positives and negatives above each edge, from the highest edge down."""
    negative, positive = counts[:, ::-1]
    return np.append(0, np.cumsum(positive)), np.append(0, np.cumsum(negative))


def _shares(part: Floats, whole: Floats) -> Floats:
    """part / whole, clipped to [0, 1]; NaN where the whole is below one row."""
    size = np.broadcast_to(whole, part.shape)
    found = np.full(part.shape, np.nan)
    return np.clip(np.divide(part, size, out=found, where=size >= 1), 0, 1)


def _band(values: Floats, spread: Floats) -> dict[str, list[float]]:
    """Lower and upper ends for each value; spread: of replicates around theirs."""
    told = [interval(v, v + spread[:, k], most=1) for k, v in enumerate(values)]
    return {
        "low": [0.0 if one["low"] is None else one["low"] for one in told],
        "high": [1.0 if one["high"] is None else one["high"] for one in told],
    }


def _calibration(binned: Binned) -> list[dict[str, Any]]:
    """Observed share a bin against its middle, for bins that stand above the noise."""
    rows, edges = [], binned.edges
    for place, (negative, positive) in enumerate(binned.cleaned.T):
        inside = negative + positive
        if inside > CLEAR_OF_NOISE * binned.deviation:
            share = positive / inside
            drawing = binned.most_rows * share * (1 - share) / inside
            error = np.hypot(binned.deviation / inside, np.sqrt(drawing))
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
