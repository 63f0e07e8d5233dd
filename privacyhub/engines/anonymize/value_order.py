"""The order in which ARX meets the sensitive values of a class.

ARX counts them in an open table and goes through its slots. A value's number is its
place among the values in the order in which the rows show them first. A table that is
counted from rows takes them in their order; the table of a class of a generalized node
is merged from those of its parts, in the order of their first rows.

Which parts these are depends in ARX on what it searched before. Here they are the
classes one level below in the first column that is generalized, counted from the rows:
then the order depends on the table and the node alone, but it is not always ARX's.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

import numpy as np

from .classes import Classes
from .encoding import Problem
from .keys import Bools, Ints, first_rows, matched


class Slots:
    """An open table of counts with linear probing, three quarters full at most.

    >>> slots = Slots()
    >>> for value in (9, 1, 8, 9):
    ...     slots.add(value)
    >>> slots.in_order()  # of 8, 9 and 1, which comes too late for its place
    [1, 2, 1]
    """

    def __init__(self, capacity: int = 8) -> None:
        self._slots: list[int | None] = [None] * (1 << (capacity - 1).bit_length())
        self._counts: dict[int, int] = {}

    def add(self, value: int, count: int = 1) -> None:
        if value in self._counts:
            self._counts[value] += count
            return
        self._counts[value] = count
        self._place(value)
        if len(self._counts) > len(self._slots) * 3 // 4:
            self._grow()

    def merge(self, other: Slots) -> None:
        """Add what another table holds, in its order."""
        for value in other._values():
            self.add(value, other._counts[value])

    @classmethod
    def merged(cls, parts: list[Self]) -> Self:
        out = cls(len(parts[0]._counts))
        for part in parts:
            out.merge(part)
        return out

    def in_order(self) -> list[int]:
        """The counts in the order of the slots."""
        return [self._counts[value] for value in self._values()]

    def _values(self) -> list[int]:
        return [value for value in self._slots if value is not None]

    def _grow(self) -> None:
        held = self._values()
        self._slots = [None] * (2 * len(self._slots))
        for value in held:
            self._place(value)

    def _place(self, value: int) -> None:
        at = value % len(self._slots)
        while self._slots[at] is not None:
            at = (at + 1) % len(self._slots)
        self._slots[at] = value


class ValueOrder:
    """The counts of a sensitive column's values in the order of ARX's tables."""

    def __init__(self, problem: Problem, column: str) -> None:
        self._problem = problem
        self._sensitive = problem.sensitive[column]

    def counts(self, classes: Classes, chosen: Bools) -> dict[int, list[int]]:
        """For each chosen class that has rows, how often it has each of its values."""
        entries = self._entries
        entries = entries[chosen[classes.of_entry[entries]]]
        parts: dict[int, dict[int, Slots]] = {}
        for whole, part, value, rows in zip(
            classes.of_entry[entries].tolist(),
            self._parts(classes, entries).tolist(),
            self._numbers[self._sensitive.codes[entries]].tolist(),
            self._problem.weights[entries].tolist(),
            strict=True,
        ):
            tables = parts.setdefault(whole, {})
            tables.setdefault(part, Slots()).add(value, rows)
        generalized = any(classes.levels)
        return {
            whole: _of_class(list(tables.values()), merged=generalized).in_order()
            for whole, tables in parts.items()
        }

    def _parts(self, classes: Classes, entries: Ints) -> Ints:
        """The part of its class that each entry is in."""
        for column, codes, level in zip(
            self._problem.columns, self._problem.codes, classes.levels, strict=True
        ):
            if level > 0:
                return column.maps[level - 1][codes[entries]]
        return np.zeros(len(entries), dtype=np.int64)

    @cached_property
    def _entries(self) -> Ints:
        """The entries that are anonymized, in the order of their first rows."""
        problem, told = self._problem, self._problem.sensitive.values()
        entry_of_row = matched(
            [*problem.row_codes, *(column.row_codes for column in told)],
            [*problem.codes, *(column.codes for column in told)],
            sizes=[
                *(column.sizes[0] for column in problem.columns),
                *(len(column.labels) for column in told),
            ],
        )
        entries = len(problem.weights)
        first = first_rows(entry_of_row, rows=problem.anonymized_rows, size=entries)
        order = np.argsort(first, kind="stable")
        return order[problem.weights[order] > 0]

    @cached_property
    def _numbers(self) -> Ints:
        """The number of each value, by its code."""
        numbers = np.zeros(len(self._sensitive.labels), dtype=np.int64)
        found, first = np.unique(self._sensitive.row_codes, return_index=True)
        numbers[found[np.argsort(first)]] = np.arange(len(found))
        return numbers


def _of_class(tables: list[Slots], *, merged: bool) -> Slots:
    """One table for a class; at the bottom it is the one that was counted."""
    return Slots.merged(tables) if merged else tables[0]
