"""Levels of a few columns that rule a node out, whatever the other columns show.

Grouped by fewer columns, a table has unions of a node's classes. Where a union is too
small, so are its parts: its rows are suppressed at each node that shows these columns
at these levels or below. Past the limit none of those nodes can be anonymous. This is
the a-priori pruning of Incognito (LeFevre, DeWitt and Ramakrishnan, 2005), with a
suppression limit, looked for in the halves of the columns that a check needs anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .encoding import Problem
from .halves import Half
from .keys import Ints, dense_keys, number
from .lattice import Levels
from .models import Test


class Conflicts:
    """Finds them for the nodes of one search. `limit`: rows, at most."""

    def __init__(self, *, problem: Problem, tests: Sequence[Test], limit: int) -> None:
        self._problem = problem
        self._limit = limit
        self._tests = [test for test in tests if test.fewest > 1]
        self._most = max((test.fewest - 1 for test in self._tests), default=0)
        # By the half's first column and its levels: the columns that are to blame.
        self._known: dict[tuple[int, Levels], list[int]] = {}

    def closes(self, levels: Levels) -> tuple[Any, ...] | None:
        """Index of the nodes that are ruled out with this one; None if it is not."""
        if not self._tests:
            return None
        first = 0
        for half in self._problem.halves(levels):
            at = first, levels[first : first + half.columns]
            if at not in self._known:
                self._known[at] = self._blamed(half)
            blamed = {first + j for j in self._known[at]}
            if blamed:
                return tuple(
                    slice(0, level + 1) if j in blamed else slice(None)
                    for j, level in enumerate(levels)
                )
            first += half.columns
        return None

    def _blamed(self, half: Half) -> list[int]:
        """Columns of the half of which none can be left out; none: no conflict."""
        if half.keys is None or half.count * self._most <= self._limit:
            return []
        weights, population = self._problem.float_weights, None
        size = np.bincount(half.ids, weights=weights, minlength=half.count)
        if self._problem.separate:
            weights = self._problem.float_population
            population = np.bincount(half.ids, weights=weights, minlength=half.count)
        if self._lost(size, population) <= self._limit:
            return []
        blamed = list(range(half.columns))
        for j in range(half.columns):
            fewer = [i for i in blamed if i != j]
            if fewer and self._lost_by(half, fewer, size, population) > self._limit:
                blamed = fewer
        return blamed

    def _lost_by(
        self, half: Half, columns: list[int], size: Ints, population: Ints | None
    ) -> float:
        """Rows that these columns alone lose."""
        codes = [half.codes[j] for j in columns]
        keys = dense_keys(codes, sizes=[half.sizes[j] for j in columns])
        distinct, group = number(keys, space=int(keys.max(initial=0)) + 1)

        def by_group(rows: Ints) -> Ints:
            return np.bincount(group, weights=rows, minlength=len(distinct))

        outer = None if population is None else by_group(population)
        return self._lost(by_group(size), outer)

    def _lost(self, size: Ints, population: Ints | None) -> float:
        """Rows of groups that fail with all their parts."""
        outer = size if population is None else population
        failing = np.zeros(len(size), dtype=bool)
        for test in self._tests:
            failing |= test.too_small(size, population=outer)
        return float(size[failing].sum())
