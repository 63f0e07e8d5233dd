"""The same mathematics again, row by row in plain Python, to check the engine by."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from privacyhub.engines.anonymize import Hierarchy

Rows = list[tuple[str, ...]]
Holds = Callable[[list[int]], bool]


def generalized(
    frame: pl.DataFrame, hierarchies: Mapping[str, Hierarchy], levels: Sequence[int]
) -> Rows:
    columns = [
        [h.levels[h.values.index(str(v))][level] for v in frame[name]]
        for (name, h), level in zip(hierarchies.items(), levels, strict=True)
    ]
    return list(zip(*columns, strict=True))


def classes(rows: Rows) -> list[list[int]]:
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row].append(index)
    return list(groups.values())


def suppressed(rows: Rows, holds: Sequence[Holds]) -> set[int]:
    return {
        index
        for members in classes(rows)
        if not all(test(members) for test in holds)
        for index in members
    }


def loss(
    frame: pl.DataFrame,
    hierarchies: Mapping[str, Hierarchy],
    levels: Sequence[int],
    hidden: set[int],
) -> float:
    product, n = 1.0, frame.height
    for (name, h), level in zip(hierarchies.items(), levels, strict=True):
        leaves = Counter(path[level] for path in h.levels)
        total = 0.0
        for index, value in enumerate(frame[name]):
            label = h.levels[h.values.index(str(value))][level]
            total += 1.0 if index in hidden else leaves[label] / len(h.levels)
        least = n / len(h.levels)
        product *= max((total - least) / (n - least), 0.0) + 1
    return product ** (1 / len(hierarchies)) - 1


def best(
    frame: pl.DataFrame,
    hierarchies: Mapping[str, Hierarchy],
    holds: Sequence[Holds],
    limit: int,
    cost: Callable[..., float] = loss,
) -> float | None:
    """The least cost over the whole lattice; None when nothing is anonymous."""
    spans = [range(h.height + 1) for h in hierarchies.values()]
    found = None
    for levels in itertools.product(*spans):
        hidden = suppressed(generalized(frame, hierarchies, levels), holds)
        if len(hidden) <= limit:
            score = cost(frame, hierarchies, levels, hidden)
            found = score if found is None else min(found, score)
    return found


def k_anonymous(k: int) -> Holds:
    return lambda members: len(members) >= k


def distinct(values: Sequence[str], l: int) -> Holds:  # noqa: E741
    return lambda members: len({values[i] for i in members}) >= l


def entropy(values: Sequence[str], l: float) -> Holds:  # noqa: E741
    def holds(members: list[int]) -> bool:
        n = len(members)
        counts = Counter(values[i] for i in members).values()
        return -sum(c / n * math.log(c / n) for c in counts) >= math.log(l) - 1e-12

    return holds


def grassberger(n: int) -> float:
    """G(1) = -gamma - ln 2, G(2) = 2 - gamma - ln 2, G(2m + 2) = G(2m) + 2/(2m + 1)."""
    low = -float(np.euler_gamma) - math.log(2)
    return low + sum(2 / (2 * m + 1) for m in range(n // 2))


def open_table(values: Sequence[int], capacity: int) -> list[int]:
    """The values in the order of a table that they fell into one by one.

    A value that is already there falls nowhere. More than three quarters full, all of
    them fall into one of double the size, in the order of the smaller one.
    """
    table: list[int | None] = [None] * capacity
    for place, value in enumerate(values, start=1):
        if value in table:
            continue
        at = value % capacity
        while table[at] is not None:
            at = (at + 1) % capacity
        table[at] = value
        held = [one for one in table if one is not None]
        if 4 * len(held) > 3 * capacity:
            return open_table([*held, *values[place:]], 2 * capacity)
    return [one for one in table if one is not None]


def merged_tables(tables: Sequence[list[int]]) -> list[int]:
    """The values of several tables in the order of one that they are merged into."""
    capacity = 1
    while capacity < len(tables[0]):
        capacity *= 2
    return open_table([value for table in tables for value in table], capacity)


def equal_closeness(values: Sequence[str], t: float) -> Holds:
    whole = Counter(values)

    def holds(members: list[int]) -> bool:
        part = Counter(values[i] for i in members)
        distance = sum(
            abs(part[v] / len(members) - whole[v] / len(values)) for v in whole
        )
        return distance / 2 <= t + 1e-12

    return holds


def random_table(
    rng: np.random.Generator, *, rows: int, heights: Sequence[int], values: int = 6
) -> tuple[pl.DataFrame, dict[str, Hierarchy]]:
    """A table with random nested hierarchies and a sensitive column `s`."""
    columns: dict[str, list[str]] = {}
    hierarchies = {}
    for j, height in enumerate(heights):
        names = [f"v{i}" for i in range(values)]
        paths = [[name] for name in names]
        groups = list(range(values))
        for level in range(1, height + 1):
            merged = sorted(set(groups))
            target = {
                g: 0
                if level == height
                else int(rng.integers(0, max(len(merged) // 2, 1)))
                for g in merged
            }
            groups = [target[g] for g in groups]
            for path, group in zip(paths, groups, strict=True):
                path.append("*" if level == height else f"g{level}-{group}")
        hierarchies[f"q{j}"] = Hierarchy.from_rows(paths)
        weights = rng.dirichlet(np.ones(values))
        columns[f"q{j}"] = rng.choice(names, size=rows, p=weights).tolist()
    columns["s"] = rng.choice(["a", "b", "c", "d"], size=rows, p=[0.5, 0.3, 0.1, 0.1])
    return pl.DataFrame(columns), hierarchies
