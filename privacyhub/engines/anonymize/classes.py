"""The equivalence classes of one transformation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .encoding import Bools, Floats, Ints, Problem, unpack

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
        radices = [
            column.sizes[level]
            for column, level in zip(problem.columns, self.levels, strict=True)
        ]
        self._radices = radices
        space = 1
        for size in radices:
            space *= size
        keys = np.zeros(len(problem.weights), dtype=np.int64)
        for column, level, codes, size in zip(
            problem.columns, self.levels, problem.codes, radices, strict=True
        ):
            if size > 1:
                keys *= size
                keys += column.maps[level][codes] if level else codes
        self._entry_keys = keys
        self._space = space
        if space <= DENSE_CELLS * max(len(keys), 1024):
            population = np.bincount(
                keys, weights=problem.population, minlength=space
            ).astype(np.int64)
            if problem.separate:
                seen = np.zeros(space, dtype=bool)
                seen[keys] = True
                self.keys = np.flatnonzero(seen)
            else:
                self.keys = np.flatnonzero(population)
            self.population = population[self.keys]
            self._class_of_key: Ints | None = np.full(space, -1)
            self._class_of_key[self.keys] = np.arange(len(self.keys))
            self._class_of_entry: Ints | None = None
        else:
            self._class_of_key = None
            self.keys, self._class_of_entry = np.unique(keys, return_inverse=True)
            self.population = self._sum(problem.population)
        if not problem.separate:
            self.size = self.population
        else:
            self.size = self._sum(problem.weights)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def of_entry(self) -> Ints:
        """The class of each entry."""
        if self._class_of_entry is not None:
            return self._class_of_entry
        assert self._class_of_key is not None  # noqa: S101 - one of the two is set
        return self._class_of_key[self._entry_keys]

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
        if self._class_of_key is not None:
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

    def leaf_counts(self, chosen: Bools) -> list[Ints]:
        """Rows of the chosen classes by level-0 code, for each column."""
        inside = chosen[self.of_entry]
        weights = self.problem.weights[inside]
        return [
            np.bincount(codes[inside], weights=weights, minlength=column.sizes[0])
            for column, codes in zip(
                self.problem.columns, self.problem.codes, strict=True
            )
        ]

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
