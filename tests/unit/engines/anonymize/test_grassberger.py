"""Grassberger's entropy with ARX's early stop, against the same in plain Python.

ARX's own answer for it is among the known ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.value_order import Slots
from tests.unit.engines.anonymize import brute_force as bf
from tests.unit.engines.anonymize import test_known_answers as known
from tests.unit.engines.anonymize.test_every_node import (
    HEIGHTS,
    ROWS,
    Counted,
    Node,
    Table,
    assert_every_node,
    by_class,
    table,
)

VALUES = [f"s{n}" for n in range(20)]
ORDERED = [1.5, 3.0, 5.0]
Order = Callable[[Table, Node, list[int]], list[int]]
Holds = Callable[[Table, Node, list[int]], bool]


def many_valued(seed: int) -> Table:
    """So many values that they meet in the slots of a class's table."""
    rng = np.random.default_rng(seed)
    plain = table(seed)
    drawn = rng.choice(VALUES, size=ROWS, p=rng.dirichlet(np.full(len(VALUES), 0.4)))
    return Table(plain.frame.with_columns(pl.Series("s", drawn)), plain.hierarchies)


def numbers(given: Table) -> list[int]:
    """Each row's value, as its place among those that came before it."""
    order = list(dict.fromkeys(given.values("s")))
    return [order.index(value) for value in given.values("s")]


def arx(given: Table, node: Node, group: list[int]) -> list[int]:
    """The order of a class's table: merged from parts, or counted at the bottom."""
    number = numbers(given)
    column = next((j for j, level in enumerate(node) if level), None)
    if column is None:
        return bf.open_table([number[row] for row in group], 8)
    below = tuple(level - (j == column) for j, level in enumerate(node))
    labels = bf.generalized(given.frame, given.hierarchies, below)
    parts: dict[tuple[str, ...], list[int]] = {}
    for row in group:
        parts.setdefault(labels[row], []).append(number[row])
    return bf.merged_tables([bf.open_table(part, 8) for part in parts.values()])


def counted(given: Table, _: Node, group: list[int]) -> list[int]:
    """The order of a table that is counted from the rows of the class."""
    return bf.open_table([numbers(given)[row] for row in group], 8)


def largest_first(given: Table, _: Node, group: list[int]) -> list[int]:
    counts = Counter(numbers(given)[row] for row in group)
    return [value for value, _ in counts.most_common()]


def terms(given: Table, group: list[int], order: Iterable[int]) -> list[float]:
    counts = Counter(numbers(given)[row] for row in group)
    return [counts[value] * bf.grassberger(counts[value]) for value in order]


def enough(given: Table, group: list[int], *, l: float, most: float) -> bool:  # noqa: E741
    """Whether a sum is no more than the class may have, and its values are many."""
    n = len(group)
    bound = n * (bf.grassberger(n) - math.log(l) + 1e-12)
    return most <= bound and len({numbers(given)[row] for row in group}) >= int(l)


def sums_hold(l: float, order: Order) -> Holds:  # noqa: E741
    def holds(given: Table, node: Node, group: list[int]) -> bool:
        sums = accumulate(terms(given, group, order(given, node, group)))
        return enough(given, group, l=l, most=max(sums))

    return holds


def stopped_early(l: float, order: Order = arx) -> Counted:  # noqa: E741
    return by_class(sums_hold(l, order))


def by_formula(l: float) -> Counted:  # noqa: E741
    def holds(given: Table, _: Node, group: list[int]) -> bool:
        whole = math.fsum(terms(given, group, set(numbers(given))))
        return enough(given, group, l=l, most=whole)

    return by_class(holds)


def model(l: float) -> an.EntropyLDiversity:  # noqa: E741
    return an.EntropyLDiversity("s", l, estimator="grassberger")


@pytest.mark.parametrize("l", [1.5, 2.0, 2.5])
@pytest.mark.parametrize("limit", [0.0, 0.2, 1.0])
def test_every_node_with_few_values(l: float, limit: float) -> None:  # noqa: E741
    for seed in range(4):
        assert_every_node(table(seed), [model(l)], stopped_early(l), limit=limit)


@pytest.mark.parametrize("l", ORDERED)
@pytest.mark.parametrize("limit", [0.2, 1.0])
def test_every_node_with_many_values(l: float, limit: float) -> None:  # noqa: E741
    for seed in range(6):
        assert_every_node(many_valued(seed), [model(l)], stopped_early(l), limit=limit)


def test_those_tables_tell_the_order_from_others() -> None:
    nodes = [(0, 0, 0), (1, 1, 0), (0, 1, 1), (2, 1, 0), (1, 0, 1), (2, 0, 0)]
    assert all(len(node) == len(HEIGHTS) for node in nodes)

    def hidden(rule: Callable[..., Counted], *more: Any) -> list[set[int] | None]:
        return [
            rule(l, *more)(many_valued(seed), node)
            for l in ORDERED  # noqa: E741
            for seed in range(6)
            for node in nodes
        ]

    found = hidden(stopped_early)
    plain = hidden(by_formula)
    worst = hidden(stopped_early, largest_first)
    assert found not in (plain, worst, hidden(stopped_early, counted))
    for least, here, most in zip(plain, found, worst, strict=True):
        assert least is not None
        assert here is not None
        assert most is not None
        assert least <= here <= most


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_are_not_released_have_numbers_but_no_place(seed: int) -> None:
    inside = (np.random.default_rng(seed).random(ROWS) < 0.7).tolist()

    def held(given: Table, node: Node) -> set[int]:
        groups = [[row for row in g if inside[row]] for g in given.groups(node)]
        holds = sums_hold(3.0, arx)
        failing = [g for g in groups if g and not holds(given, node, g)]
        return {row for group in failing for row in group}

    models = [model(3.0), an.DeltaPresence(0.0, 1.0, inside)]
    assert_every_node(many_valued(seed), models, held, limit=1.0, released=sum(inside))


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_were_suppressed_before_have_no_place(seed: int) -> None:
    """Each stands behind one of the others, and shows the same value."""
    given = many_valued(seed)
    asked: dict[str, Any] = {
        "quasi_identifiers": given.hierarchies,
        "models": [model(3.0)],
        "suppression_limit": 1.0,
    }
    stars = given.frame.select(
        *(pl.lit("*").alias(name) for name in given.hierarchies),
        *(pl.col(name) for name in given.frame.columns[len(given.hierarchies) :]),
    )
    turns = np.arange(2 * ROWS).reshape(2, ROWS).T.ravel()
    mixed = pl.concat([given.frame, stars])[turns]
    plain, marked = an.anonymize(given.frame, **asked), an.anonymize(mixed, **asked)
    assert marked.levels == plain.levels
    hidden = marked.suppressed_rows.to_numpy()
    assert (hidden[::2] == plain.suppressed_rows.to_numpy()).all()
    assert hidden[1::2].all()


@given(values=st.lists(st.integers(0, 40)), cut=st.integers(0, 20))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_slots_are_an_open_table(values: list[int], cut: int) -> None:
    parts = [part for part in (values[:cut], values[cut:]) if part]
    tables = []
    for part in parts:
        tables.append(Slots())
        for value in part:
            tables[-1].add(value)
        counts, order = Counter(part), bf.open_table(part, 8)
        assert tables[-1].in_order() == [counts[value] for value in order]
    if parts:
        order = bf.merged_tables([bf.open_table(part, 8) for part in parts])
        counts = Counter(values)
        assert Slots.merged(tables).in_order() == [counts[value] for value in order]


def test_no_node_of_adult_is_better_than_the_known_one() -> None:
    """Whatever the search left out: each node that the formula could make better."""
    known.require_data()
    (case,) = (c for c in known.CASES if "GRASSBERGER" in str(c["privacy"]))
    frame, models = known._models(case)
    result = an.anonymize(
        frame,
        quasi_identifiers=known._columns(case),
        models=models,
        suppression_limit=case["suppression_limit"],
        metric=known._metric(case),
    )
    assert list(result.levels.values()) == case["expected_transformation"]
    assert result.suppressed <= result.checker.limit
    heights = result.checker.problem.heights
    scores = [
        check.score.value
        for node in np.ndindex(*(height + 1 for height in heights))
        if (check := result.checker.check(node)).score is not None
    ]
    assert min(scores) == result.score
