"""Every node of small lattices again: estimates, the anytime search."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import run
from tests.unit.engines.anonymize import brute_force as bf
from tests.unit.engines.anonymize.test_every_node import (
    ROWS,
    Counted,
    Node,
    Table,
    assert_every_node,
    by_class,
    table,
)

PEOPLE = 400


def bisected(holds: Callable[[list[int]], bool], *, limit: float) -> Counted:
    """The smallest classes go, as many as a bisection finds: estimates may rise."""

    def count(sizes: list[int]) -> int:
        if holds(sizes):
            return 0
        low, high, middle = 0, len(sizes) - 1, (len(sizes) - 1) // 2
        while low <= high:
            if holds(sizes[middle + 1 :]):
                high = middle - 1
            elif sum(sizes[: middle + 1]) > int(limit * ROWS + 1e-9):
                return len(sizes)
            else:
                low = middle + 1
            middle = math.trunc((low + high) / 2)
        fitting = (n for n in (middle + 1, middle + 2) if holds(sizes[n:]))
        return next(fitting, len(sizes))

    def counted(given: Table, node: Node) -> set[int]:
        groups = sorted(given.groups(node), key=len)
        gone = groups[: count([len(group) for group in groups])]
        return {row for group in gone for row in group}

    return counted


def _rarely_unique(estimator: str, threshold: float) -> Callable[[list[int]], bool]:
    def holds(sizes: list[int]) -> bool:
        if not sizes:
            return True
        part = an.uniqueness.estimate(
            np.array(sizes), population=PEOPLE, estimator=estimator
        )
        if math.isnan(part) or part == 0:
            return 1 not in sizes
        return part <= threshold

    return holds


@pytest.mark.parametrize("estimator", ["dankar", "pitman", "zayatz", "snb"])
@pytest.mark.parametrize("limit", [0.0, 0.2, 1.0])
def test_population_uniqueness(estimator: str, limit: float) -> None:
    model = an.PopulationUniqueness(0.1, estimator, PEOPLE)
    holds = _rarely_unique(estimator, 0.1)
    assert_every_node(table(1), [model], bisected(holds, limit=limit), limit=limit)


@pytest.mark.parametrize("limit", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_anytime_search_with_several_models(
    seed: int, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MAX_NODES", 0)
    given = table(seed)
    diverse = bf.distinct(given.values("s"), 2)
    close = bf.equal_closeness(given.values("t"), 0.4)
    models = [
        an.KAnonymity(3),
        an.DistinctLDiversity("s", 2),
        an.EqualTCloseness("t", 0.4),
    ]
    holds = by_class(lambda _, __, g: len(g) >= 3 and diverse(g) and close(g))
    assert_every_node(given, models, holds, limit=limit)


@pytest.mark.parametrize("limit", [0.2, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_anytime_search_where_nothing_is_pruned(
    seed: int, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An estimate and a class model together: failures say nothing of other nodes."""
    monkeypatch.setattr(run, "MAX_NODES", 0)
    model = an.PopulationUniqueness(0.1, "zayatz", PEOPLE)
    holds = _rarely_unique("zayatz", 0.1)
    assert_every_node(table(seed), [model], bisected(holds, limit=limit), limit=limit)
