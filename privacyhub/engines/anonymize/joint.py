"""Rows counted by the joint level-0 codes of a few columns.

Leaf counts and sums of shares, at all levels of all columns, are sums over such counts:
few passes over the entries give them, one a group of columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from .keys import Floats, Ints, pack

# Columns whose values have no more combinations than this are counted together.
JOINT_CELLS = 4096


class _Group:
    """Columns coded together at level 0.

    `members`: their places; `keys` of the entries, shape (entries,), in row-major order
    of `sizes`.
    """

    def __init__(
        self,
        members: Sequence[int],
        *,
        codes: Sequence[Ints],
        share_tables: Sequence[Floats],
    ) -> None:
        self.members = members
        self._tables = [share_tables[j] for j in members]
        self.sizes = tuple(table.shape[1] for table in self._tables)
        self.cells = math.prod(self.sizes)
        self.keys, _ = pack([codes[j] for j in members], sizes=self.sizes)

    @cached_property
    def shares(self) -> Floats:
        """Shares at each level of each member in turn, shape (levels, cells)."""
        codes = np.unravel_index(np.arange(self.cells), self.sizes)
        return np.concatenate(
            [table[:, own] for table, own in zip(self._tables, codes, strict=True)]
        )


class JointCounts:
    """Counts the rows of entries. A count has one array for each group of columns.

    `codes` [column][entry] at level 0; `share_tables` [column], each of shape (levels,
    values); `weights`: the rows of each entry.
    """

    def __init__(
        self,
        *,
        codes: Sequence[Ints],
        share_tables: Sequence[Floats],
        weights: Floats,
    ) -> None:
        self._weights = weights
        self._groups = [
            _Group(members, codes=codes, share_tables=share_tables)
            for members in _in_groups([table.shape[1] for table in share_tables])
        ]
        # Where each level of each column in turn is among the groups' shares.
        first, place = 0, {}
        for group in self._groups:
            for j in group.members:
                levels = len(share_tables[j])
                place[j] = np.arange(first, first + levels)
                first += levels
        self._in_turn = np.concatenate([place[j] for j in range(len(place))])

    def of(self, entries: Ints) -> list[Floats]:
        """Rows of some entries."""
        weights = self._weights[entries]
        out = []
        for group in self._groups:
            keys = group.keys[entries]
            counts = np.bincount(keys, weights=weights, minlength=group.cells)
            out.append(counts.astype(np.float64, copy=False))
        return out

    @cached_property
    def of_all(self) -> list[Floats]:
        return self.of(np.arange(len(self._weights)))

    def leaves(self, counts: Sequence[Floats]) -> list[Floats]:
        """A count by level-0 code, for each column."""
        out = {}
        for group, joint in zip(self._groups, counts, strict=True):
            axes = range(len(group.sizes))
            table = joint.reshape(group.sizes)
            for axis, j in enumerate(group.members):
                out[j] = table.sum(axis=tuple(a for a in axes if a != axis))
        return [out[j] for j in range(len(out))]

    def shares(self, counts: Sequence[Floats]) -> Floats:
        """Sums of shares over a count, for each level of each column in turn."""
        # Not `@`: its threads cost more than products of this size.
        sums = [
            np.einsum("lc,c->l", group.shares, joint)
            for group, joint in zip(self._groups, counts, strict=True)
        ]
        return np.concatenate(sums)[self._in_turn]


def _in_groups(sizes: Sequence[int]) -> list[list[int]]:
    """Columns in as few groups as keep to JOINT_CELLS, and of much the same cells.

    The largest column first, each to the group that has the fewest cells so far. A
    column of more values than that is counted alone.
    """
    largest_first = sorted(range(len(sizes)), key=lambda j: -sizes[j])
    groups: list[list[int]] = []
    for count in range(1, len(sizes) + 1):
        groups, cells = [[] for _ in range(count)], [1] * count
        for j in largest_first:
            least = cells.index(min(cells))
            groups[least].append(j)
            cells[least] *= sizes[j]
        together = [n for n, group in zip(cells, groups, strict=True) if group[1:]]
        if max(together, default=0) <= JOINT_CELLS:
            break
    return [group for group in groups if group]
