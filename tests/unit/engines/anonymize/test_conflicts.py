"""Nodes that a few columns rule out, against a count at every node."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.checks import Checker
from privacyhub.engines.anonymize.classes import Classes
from privacyhub.engines.anonymize.conflicts import Conflicts
from privacyhub.engines.anonymize.requests import Request, bind
from tests.unit.engines.anonymize.test_every_node import HEIGHTS, Table, table

NODES = list(itertools.product(*(range(height + 1) for height in HEIGHTS)))


def _bound(given: Table, models: Sequence[an.Model], *, limit: float) -> Checker:
    request = Request(
        frame=given.frame,
        quasi_identifiers=given.hierarchies,
        models=tuple(models),
        suppression_limit=limit,
        metric=an.Loss(),
    )
    return bind(request)


def _closed(checker: Checker) -> tuple[set[tuple[int, ...]], Conflicts]:
    conflicts = Conflicts(
        problem=checker.problem, tests=checker.tests, limit=checker.limit
    )
    shape = tuple(height + 1 for height in HEIGHTS)
    open_nodes = np.ones(shape, dtype=bool)
    for node in NODES:
        part = conflicts.closes(node)
        if part is not None:
            assert node in {tuple(n) for n in np.argwhere(_marked(shape, part))}
            open_nodes[part] = False
    return {tuple(node) for node in np.argwhere(~open_nodes).tolist()}, conflicts


def _marked(shape: tuple[int, ...], part: tuple[slice, ...]) -> np.ndarray:
    marked = np.zeros(shape, dtype=bool)
    marked[part] = True
    return marked


@pytest.mark.parametrize("limit", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_only_nodes_that_lose_too_many_rows_are_closed(k: int, limit: float) -> None:
    closed_in_all = 0
    for seed in range(8):
        given = table(seed)
        closed, _ = _closed(_bound(given, [an.KAnonymity(k)], limit=limit))
        for node in closed:
            lost = sum(len(group) for group in given.groups(node) if len(group) < k)
            assert lost > int(limit * given.frame.height + 1e-9), node
        closed_in_all += len(closed)
    assert closed_in_all > 0 or limit > 0.3


def test_rows_of_a_population_count_for_k_map() -> None:
    """A class that is small in the table may be large in its population."""
    for seed in range(8):
        given = table(seed)
        population = pl.concat([given.frame] * 3)
        found = an.KMap(6, population=population)
        closed, _ = _closed(_bound(given, [found], limit=0.1))
        for node in closed:
            # Each class is three times as large in the population.
            lost = sum(len(g) for g in given.groups(node) if 3 * len(g) < 6)
            assert lost > 3, node


def test_no_more_columns_are_blamed_than_it_takes() -> None:
    """One column has singletons at its lowest level, the others have none at all."""
    names = ("a", "b", "c")
    same = an.Hierarchy.from_rows([["x", "*"], ["y", "*"]])
    single = an.Hierarchy.from_rows([[str(i), "*"] for i in range(40)])
    frame = pl.DataFrame(
        {
            "a": ["x", "y"] * 20,
            "b": [str(i) for i in range(40)],
            "c": ["x"] * 20 + ["y"] * 20,
        }
    )
    hierarchies = dict(zip(names, (same, single, same), strict=True))
    checker = bind(
        Request(
            frame=frame,
            quasi_identifiers=hierarchies,
            models=(an.KAnonymity(2),),
            suppression_limit=0.1,
            metric=an.Loss(),
        )
    )
    conflicts = Conflicts(
        problem=checker.problem, tests=checker.tests, limit=checker.limit
    )
    assert conflicts.closes((0, 0, 0)) == (slice(None), slice(0, 1), slice(None))
    assert conflicts.closes((0, 1, 0)) is None


def test_models_that_do_not_go_by_size_close_nothing() -> None:
    given = table(1)
    closed, _ = _closed(_bound(given, [an.EqualTCloseness("t", 0.01)], limit=0.0))
    assert not closed


@pytest.mark.parametrize("node", NODES)
def test_shares_of_a_few_and_of_most_classes(node: tuple[int, ...]) -> None:
    """Whichever part is counted, the sums are those of the rows themselves."""
    given = table(3)
    checker = _bound(given, [an.KAnonymity(2)], limit=1.0)
    problem = checker.problem
    found = Classes(problem=problem, levels=node)
    rng = np.random.default_rng(4)
    for part in (0.0, 0.2, 0.8, 1.0):
        chosen = rng.random(len(found)) < part
        inside = chosen[found.of_row]
        expected = [
            float(column.shares[level][codes[inside]].sum())
            for column, codes in zip(problem.columns, problem.row_codes, strict=True)
            for level in column.levels
        ]
        rows, shares = found.lost(chosen)
        assert rows == inside.sum()
        assert shares == pytest.approx(expected, rel=1e-12)
