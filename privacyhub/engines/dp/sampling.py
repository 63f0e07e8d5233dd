"""Exact Poisson sampling of units, drawn for many steps at once.

Each unit joins each step independently with probability q. The gaps between joined
(step, unit) pairs are geometric, so a draw costs O(q N) a step. The event that the
accountant prices comes from the object that draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.entropy import Words, fresh_words, unit_interval
from privacyhub.engines.dp.events import PoissonGaussianEvent


@dataclass(frozen=True, kw_only=True)
class UnitRows:
    """Which rows belong to each unit, at most m of them.

    `rows`: int32 of shape [units, m], padded with -1 behind a unit's last row.
    """

    rows: NDArray[np.int32]

    @property
    def units(self) -> int:
        return int(self.rows.shape[0])

    @property
    def max_rows(self) -> int:
        return int(self.rows.shape[1])


def rows_as_units(rows: int) -> UnitRows:
    """Each row is a unit of its own."""
    return UnitRows(rows=np.arange(rows, dtype=np.int32)[:, None])


def bound_rows_per_unit(
    unit_of_row: NDArray[np.int64], *, max_rows: int, words: Words | None = None
) -> UnitRows:
    """At most `max_rows` rows of each unit, chosen at random, blind to the values.

    `unit_of_row`: one integer a row; equal integers are one unit, a negative integer
    is a row without a key, which is a unit of its own. words: only tests pass others.
    """
    order, codes, rank = _ranked(unit_of_row, words=words)
    kept = _within(rank, max_rows=max_rows)
    rows = np.full((int(codes.max(initial=-1)) + 1, max_rows), -1, dtype=np.int32)
    rows[codes[kept], rank[kept]] = order[kept]
    return UnitRows(rows=rows)


def rows_of_units(
    unit_of_row: NDArray[np.int64], *, max_rows: int, words: Words | None = None
) -> NDArray[np.int64]:
    """The rows that `bound_rows_per_unit` keeps, in their order: int64 [kept]."""
    order, _, rank = _ranked(unit_of_row, words=words)
    return np.sort(order[_within(rank, max_rows=max_rows)])


def _within(rank: NDArray[np.int64], *, max_rows: int) -> NDArray[np.bool_]:
    if max_rows < 1:
        raise ValueError("A unit contributes at least one row.")
    return rank < max_rows


def _ranked(
    unit_of_row: NDArray[np.int64], *, words: Words | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows by unit, in random order inside of it; each one's unit, and its place there.

    Units are numbered from 0; a row without a key is one of its own.
    """
    unit_of_row = np.asarray(unit_of_row, dtype=np.int64)
    keyless = unit_of_row < 0
    keys = unit_of_row.copy()
    keys[keyless] = keys.max(initial=0) + 1 + np.arange(int(keyless.sum()))
    shuffled = np.argsort((words or fresh_words())(len(keys)), kind="stable")
    _, codes = np.unique(keys, return_inverse=True)
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    sorted_codes = codes[order]
    starts = np.flatnonzero(np.diff(sorted_codes, prepend=-1))
    rank = np.arange(len(order)) - np.repeat(
        starts, np.diff(np.append(starts, len(order)))
    )
    return order, sorted_codes, rank


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Units drawn for several steps, one step's after another's.

    members: int32 [sum of sizes]; sizes: int64 [steps].
    """

    members: NDArray[np.int32]
    sizes: NDArray[np.int64]

    def padded(self, width: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The batches in rows of a fixed width, padded with -1.

        Returns units [passes, width] and the number of passes of each step [steps].
        A batch wider than `width` takes further passes: nothing is truncated. An
        empty batch takes one, of nothing but padding.
        """
        passes = np.maximum(1, -(-self.sizes // width))
        starts = np.cumsum(self.sizes) - self.sizes
        slot = np.arange(len(self.members)) - np.repeat(starts, self.sizes)
        first_pass = np.repeat(np.cumsum(passes) - passes, self.sizes)
        units = np.full((int(passes.sum()), width), -1, dtype=np.int32)
        units[first_pass + slot // width, slot % width] = self.members
        return units, passes


class PoissonSampler:
    """Draws batches that each unit joins with probability `sampling_probability`."""

    def __init__(
        self,
        *,
        units: int,
        sampling_probability: float,
        words: Words | None = None,
    ) -> None:
        if units < 1:
            raise ValueError("There is no unit to draw from.")
        if not 0 < sampling_probability <= 1:
            raise ValueError(
                "The sampling probability must be above 0 and at most 1: the "
                "expected batch may not be larger than the number of units."
            )
        self.units = units
        self.sampling_probability = sampling_probability
        self._words = words or fresh_words()

    def width(self, *, multiple: int) -> int:
        """A width that 98 of 100 batches fit in, as a multiple of `multiple`."""
        mean = self.units * self.sampling_probability
        spread = (mean * (1 - self.sampling_probability)) ** 0.5
        return -(-int(np.ceil(mean + 2 * spread)) // multiple) * multiple

    def _joined(self, trials: int) -> NDArray[np.int64]:
        """Positions of the successes among `trials` Bernoulli(q) trials."""
        parts: list[NDArray[np.int64]] = []
        position = -1
        while position < trials:
            expected = (trials - position) * self.sampling_probability
            gaps = self._gaps(int(expected + 5 * expected**0.5) + 16)
            whole = np.minimum(gaps, trials + 1).astype(np.int64)
            part = position + np.cumsum(whole)
            parts.append(part)
            position = int(part[-1])
        joined = np.concatenate(parts)
        return joined[: np.searchsorted(joined, trials)]

    def _gaps(self, count: int) -> NDArray[np.float64]:
        """Geometric gaps, by inversion: P(gap > k) = P(U <= (1 - q)^k)."""
        if self.sampling_probability == 1:
            return np.ones(count)
        gaps = np.log(unit_interval(self._words(count)))
        gaps /= math.log1p(-self.sampling_probability)
        return np.floor(gaps) + 1

    def draw(self, steps: int) -> Batches:
        """Batches for the next `steps` steps."""
        joined = self._joined(steps * self.units)
        step = joined // self.units
        sizes = np.bincount(step, minlength=steps)
        members = (joined - step * self.units).astype(np.int32)
        return Batches(members=members, sizes=sizes)

    def event(self, *, steps: int, noise_multiplier: float) -> PoissonGaussianEvent:
        """What `steps` noisy sums over this sampler's batches cost."""
        return PoissonGaussianEvent(
            sampling_probability=self.sampling_probability,
            noise_multiplier=noise_multiplier,
            steps=steps,
        )
