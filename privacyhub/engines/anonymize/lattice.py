"""The lattice of transformations: one level for each column, from 0 to its height."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .keys import Floats, Ints

Levels = tuple[int, ...]


def size(heights: Sequence[int]) -> int:
    """How many nodes a lattice has."""
    return math.prod(h + 1 for h in heights)


def shape(heights: Sequence[int]) -> tuple[int, ...]:
    return tuple(h + 1 for h in heights)


def below(levels: Sequence[int]) -> tuple[slice, ...]:
    """Index of a node and all its specialisations."""
    return tuple(slice(0, level + 1) for level in levels)


def above(levels: Sequence[int]) -> tuple[slice, ...]:
    """Index of a node and all its generalisations."""
    return tuple(slice(level, None) for level in levels)


def outer(parts: Sequence[Floats], *, join: np.ufunc) -> Floats:
    """Join one vector a column over the whole lattice they span.

    >>> outer([np.array([1., 2.]), np.array([10., 20.])], join=np.add).tolist()
    [[11.0, 21.0], [12.0, 22.0]]
    """
    out = np.asarray(parts[-1], dtype=float)
    for part in parts[-2::-1]:  # what is long comes last, which is several times faster
        out = join.outer(part, out)
    return out


def generality(heights: Sequence[int]) -> Ints:
    """The sum of levels of every node, in the shape of the lattice."""
    out = np.arange(heights[0] + 1)
    for height in heights[1:]:
        out = np.add.outer(out, np.arange(height + 1))
    return out


def children(levels: Levels) -> list[Levels]:
    """The direct specialisations."""
    return [
        (*levels[:j], level - 1, *levels[j + 1 :])
        for j, level in enumerate(levels)
        if level > 0
    ]
