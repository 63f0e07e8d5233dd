"""The equivalence classes of one transformation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .encoding import Problem
from .keys import Bools, Floats, Ints, unpack

# A counting array may have this many cells for each entry before sorting is cheaper.
DENSE_CELLS = 8


@dataclass(frozen=True)
class Histogram:
    """How often each sensitive value occurs in each class, as sorted triples.

    `class_of`, `value` and `count` have one element for each pair that occurs;
    `starts` is the first element of each class.
    """

    class_of: Ints
    value: Ints
    count: Ints
    starts: Ints


class Classes:
    """Rows of a table grouped by their generalized quasi-identifiers.

    `size[c]` counts the rows of class c that are anonymized, `population[c]` all.
    Codes at the node's levels, members and histograms are computed when asked for.
    """

    def __init__(self, *, problem: Problem, levels: Sequence[int]) -> None:
        self.problem = problem
        self.levels = tuple(levels)
        self._last_leaves: tuple[Bools, list[Floats]] | None = None
        self._radices = [
            column.sizes[level]
            for column, level in zip(problem.columns, self.levels, strict=True)
        ]
        space = math.prod(self._radices)
        keys = problem.keys(self.levels)
        self._entry_keys = keys
        self._dense = space <= DENSE_CELLS * max(len(keys), 1024)
        if self._dense:
            counts = np.bincount(
                keys, weights=problem.float_population, minlength=space
            )
            if problem.separate:
                counts_seen = np.bincount(keys, minlength=space)
                self.keys = np.flatnonzero(counts_seen != 0)
            else:
                # Finding true elements is several times faster than non-zero ones.
                self.keys = np.flatnonzero(counts != 0)
            self.population: Ints = counts[self.keys].astype(np.int64)
        else:
            order, starts, self.keys = _group(keys, space=space)
            self._order, self._starts = order, starts
            self.population = np.add.reduceat(problem.population[order], starts)
        if problem.separate:
            self.size: Ints = self._sum(problem.weights)
        else:
            self.size = self.population

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def _class_of_key(self) -> Ints:
        """The class of each possible key, where there are few; else -1."""
        out = np.full(math.prod(self._radices), -1)
        out[self.keys] = np.arange(len(self.keys))
        return out

    @cached_property
    def of_entry(self) -> Ints:
        """The class of each entry."""
        if self._dense:
            return self._class_of_key[self._entry_keys]
        out = np.empty(len(self._order), dtype=np.int64)
        ends = np.append(self._starts[1:], len(self._order))
        out[self._order] = np.repeat(np.arange(len(self)), ends - self._starts)
        return out

    def _sum(self, weights: Ints) -> Ints:
        return np.bincount(
            self.of_entry, weights=weights, minlength=len(self.keys)
        ).astype(np.int64)

    @cached_property
    def of_row(self) -> Ints:
        """The class of each row of the table; -1 for rows suppressed before."""
        problem = self.problem
        rows = np.zeros(problem.rows, dtype=np.int64)
        for column, level, codes, size in zip(
            problem.columns, self.levels, problem.row_codes, self._radices, strict=True
        ):
            if size > 1:
                rows *= size
                rows += column.maps[level][codes] if level else codes
        if self._dense:
            found = self._class_of_key[rows]
        else:
            found = np.searchsorted(self.keys, rows)
        if problem.hidden is not None:
            found[problem.hidden] = -1
        return found

    @cached_property
    def first_row(self) -> Ints:
        """The first row of each class that is anonymized."""
        of_row = self.of_row
        rows = np.arange(len(of_row))
        use = of_row >= 0
        if self.problem.subset is not None:
            use &= self.problem.subset
        first = np.full(len(self), len(of_row))
        # Written from the last row to the first, so the first one stays.
        first[of_row[use][::-1]] = rows[use][::-1]
        return first

    @cached_property
    def codes(self) -> list[Ints]:
        """The code at the node's level of each class, column by column."""
        return unpack(self.keys, radices=self._radices)

    def shares(self, column: int) -> Floats:
        """The share of the hierarchy's leaves that each class's label covers."""
        level = self.levels[column]
        return self.problem.columns[column].level_shares[level][self.codes[column]]

    def leaf_counts(self, chosen: Bools) -> list[Floats]:
        """Rows of the chosen classes by level-0 code, for each column."""
        if self._last_leaves is None or not np.array_equal(
            self._last_leaves[0], chosen
        ):
            inside = chosen[self.of_entry]
            self._last_leaves = (chosen, self.problem.leaves_of(inside))
        return self._last_leaves[1]

    def table(self, name: str) -> Floats:
        """Counts of a sensitive column's values, shape (classes, values)."""
        sensitive = self.problem.sensitive[name]
        width = len(sensitive.labels)
        counts = np.bincount(
            self.of_entry * width + sensitive.codes,
            weights=self.problem.float_weights,
            minlength=len(self) * width,
        )
        return counts.astype(np.float64, copy=False).reshape(len(self), width)

    def histogram(self, name: str) -> Histogram:
        """Counts of a sensitive column's values by class."""
        sensitive = self.problem.sensitive[name]
        width = len(sensitive.labels)
        pairs = self.of_entry * width + sensitive.codes
        cells = len(self) * width
        if cells <= DENSE_CELLS * max(len(pairs), 4096):
            counts = np.bincount(pairs, weights=self.problem.weights, minlength=cells)
            keys = np.flatnonzero(counts)
            count = counts[keys].astype(np.int64)
        else:
            keys, inverse = np.unique(pairs, return_inverse=True)
            count = np.bincount(inverse, weights=self.problem.weights).astype(np.int64)
            keys, count = keys[count > 0], count[count > 0]
        class_of, value = np.divmod(keys, width)
        starts = np.searchsorted(class_of, np.arange(len(self)))
        return Histogram(class_of=class_of, value=value, count=count, starts=starts)


def _group(keys: Ints, *, space: int) -> tuple[Ints, Ints, Ints]:
    """Entries in the order of their keys, where each group starts, and its key.

    Keys and positions are packed into one integer where they fit, because sorting
    values is several times faster than sorting positions by value.
    """
    bits = max(len(keys) - 1, 1).bit_length()
    if space < 2 ** (63 - bits):
        packed = keys.astype(np.int64) << bits
        packed |= np.arange(len(keys))
        packed.sort()
        order = packed & ((1 << bits) - 1)
        ordered = packed >> bits
    else:
        order = np.argsort(keys)
        ordered = keys[order]
    change = np.empty(len(keys), dtype=bool)
    change[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=change[1:])
    starts = np.flatnonzero(change)
    return order, starts, ordered[starts]
