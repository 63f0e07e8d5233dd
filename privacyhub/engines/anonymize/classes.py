"""The equivalence classes of one transformation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .encoding import Problem
from .keys import DENSE_CELLS, Bools, Floats, Ints, first_rows

# Classes are counted in an array of their keys where it has no more cells an entry.
COUNTED_CELLS = 4


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

    def distinct(self) -> Ints:
        """How many values each class has."""
        return np.bincount(self.class_of, minlength=len(self.starts))

    def sums(self, values: Floats) -> Floats:
        """Sums of a quantity of the pairs by class."""
        sums: Floats = np.bincount(
            self.class_of, weights=values, minlength=len(self.starts)
        ).astype(np.float64)
        return sums


class Classes:
    """Rows of a table grouped by their generalized quasi-identifiers.

    `size[c]` counts the rows of class c that are anonymized, `population[c]` all.
    Codes at the node's levels, members and histograms are computed when asked for.
    """

    def __init__(self, *, problem: Problem, levels: Sequence[int]) -> None:
        self.problem = problem
        self.levels = tuple(levels)
        self._last_lost: tuple[Bools, float, Floats] | None = None
        self._halves = problem.halves(self.levels)
        left, right = self._halves
        self._space = left.count * right.count
        if self._space < 2**31:
            keys = left.ids * np.int32(right.count)
        else:
            keys = left.ids.astype(np.int64) * right.count
        keys += right.ids
        self._entry_keys = keys
        self._counted = self._space <= COUNTED_CELLS * len(keys)
        if self._counted:
            counts = np.bincount(
                keys, weights=problem.float_population, minlength=self._space
            )
            if problem.separate:
                counts_seen = np.bincount(keys, minlength=self._space)
                self.keys = np.flatnonzero(counts_seen != 0)
            else:
                # Finding true elements is several times faster than non-zero ones.
                self.keys = np.flatnonzero(counts != 0)
            self.population: Ints = counts[self.keys].astype(np.int64)
        else:
            first, self.of_entry = problem.numbered(keys, space=self._space)
            self.keys = keys[first]
            self.population = self._sum(problem.float_population)
        if problem.separate:
            self.size: Ints = self._sum(problem.float_weights)
        else:
            self.size = self.population

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def _class_of_key(self) -> Ints:
        """The class of each possible key, where there are few; else -1."""
        out = np.full(self._space, -1)
        out[self.keys] = np.arange(len(self.keys))
        return out

    @cached_property
    def of_entry(self) -> Ints:
        """The class of each entry."""
        return self._class_of_key.take(self._entry_keys)

    def _sum(self, weights: Floats) -> Ints:
        return np.bincount(
            self.of_entry, weights=weights, minlength=len(self.keys)
        ).astype(np.int64)

    @cached_property
    def of_row(self) -> Ints:
        """The class of each row of the table; -1 for rows suppressed before."""
        problem = self.problem
        ids = problem.row_ids(self.levels)
        if ids is None:
            found = self.of_entry[problem.entry_of_row]
        elif self._counted:
            found = self._class_of_key[ids]
        else:
            order = np.argsort(self.keys)
            at = np.searchsorted(self.keys, ids, sorter=order)
            found = order.take(at, mode="clip")
        if problem.hidden is not None:
            found[problem.hidden] = -1
        return found

    @cached_property
    def first_row(self) -> Ints:
        """The first row of each class that is anonymized."""
        rows = self.problem.anonymized_rows
        return first_rows(self.of_row, rows=rows, size=len(self))

    @cached_property
    def codes(self) -> list[Ints]:
        """The code at the node's level of each class, column by column."""
        left, right = self._halves
        of_left = self.keys // max(right.count, 1)
        of_right = self.keys - of_left * right.count
        codes = [codes[of_left] for codes in left.codes]
        return codes + [codes[of_right] for codes in right.codes]

    def shares(self, column: int) -> Floats:
        """The share of the hierarchy's leaves that each class's label covers."""
        level = self.levels[column]
        return self.problem.columns[column].level_shares[level][self.codes[column]]

    def leaf_counts(self, chosen: Bools) -> list[Floats]:
        """Rows of the chosen classes by level-0 code, for each column."""
        counts = self._joint_counts(chosen, rows=self.size[chosen].sum())
        return self.problem.joint.leaves(counts)

    def lost(self, chosen: Bools) -> tuple[float, Floats]:
        """The chosen classes' rows, and their shares, see `JointCounts.shares`."""
        last = self._last_lost
        if last is None or not np.array_equal(last[0], chosen):
            rows = self.size[chosen].sum()
            counts = self._joint_counts(chosen, rows=rows)
            last = chosen, float(rows), self.problem.joint.shares(counts)
            self._last_lost = last
        return last[1:]

    def _joint_counts(self, chosen: Bools, *, rows: int) -> list[Floats]:
        """Rows of the chosen classes, by joint codes; whichever are fewer are counted.

        Counts are whole numbers, so that the difference is exact.
        """
        joint = self.problem.joint
        if 2 * rows <= self.problem.total:
            return joint.of(self._entries(chosen))
        others = joint.of(self._entries(~chosen))
        pairs = zip(joint.of_all, others, strict=True)
        return [everything - other for everything, other in pairs]

    def _entries(self, chosen: Bools) -> Ints:
        """The entries of the chosen classes, in any order."""
        if not self._counted:
            return np.flatnonzero(chosen.take(self.of_entry))
        marked = np.zeros(self._space, dtype=bool)
        marked[self.keys[chosen]] = True
        return np.flatnonzero(marked.take(self._entry_keys))

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
