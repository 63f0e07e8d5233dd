"""Every node of small lattices against a plain count, model by model.

The engine's check of each node must suppress the rows that the count suppresses, and
the optimum must be the least score of all nodes, whatever was pruned on the way.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import search
from tests.unit.engines.anonymize import brute_force as bf

ROWS = 30
HEIGHTS = (2, 2, 1)
Node = tuple[int, ...]
# The rows that are suppressed at a node; None where nothing can be shown at all.
Counted = Callable[["Table", Node], set[int] | None]


@dataclass(frozen=True)
class Table:
    frame: pl.DataFrame
    hierarchies: Mapping[str, an.Hierarchy]

    def groups(self, node: Node) -> list[list[int]]:
        return bf.classes(bf.generalized(self.frame, self.hierarchies, node))

    def values(self, column: str) -> list[str]:
        return self.frame[column].to_list()

    def shares(self, node: Node, row: int) -> list[float]:
        """The part of the leaves under each label of a row."""
        found = []
        for (name, hierarchy), level in zip(
            self.hierarchies.items(), node, strict=True
        ):
            labels = [path[level] for path in hierarchy.levels]
            at = hierarchy.values.index(self.frame[name][row])
            found.append(labels.count(labels[at]) / len(labels))
        return found


def table(seed: int, *, rows: int = ROWS) -> Table:
    rng = np.random.default_rng(seed)
    frame, hierarchies = bf.random_table(rng, rows=rows, heights=HEIGHTS)
    other = pl.Series("t", rng.choice(["x", "y", "z"], size=rows))
    return Table(frame.with_columns(other), hierarchies)


def by_class(holds: Callable[[Table, Node, list[int]], bool]) -> Counted:
    def counted(given: Table, node: Node) -> set[int]:
        failing = [g for g in given.groups(node) if not holds(given, node, g)]
        return {row for group in failing for row in group}

    return counted


def smallest_first(holds: Callable[[list[int]], bool]) -> Counted:
    """The fewest of the smallest classes whose loss lets the table's sizes hold."""

    def counted(given: Table, node: Node) -> set[int]:
        groups = sorted(given.groups(node), key=len)
        for count in range(len(groups) + 1):
            if holds([len(group) for group in groups[count:]]):
                return {row for group in groups[:count] for row in group}
        raise AssertionError

    return counted


def assert_every_node(
    given: Table,
    models: Sequence[an.Model],
    counted: Counted,
    *,
    limit: float,
    released: int = ROWS,
) -> None:
    allowed = int(limit * released + 1e-9)
    checker, scores = None, []
    try:
        result = an.anonymize(
            given.frame,
            quasi_identifiers=given.hierarchies,
            models=models,
            suppression_limit=limit,
        )
        checker = result.checker
    except an.AnonymizeError as error:
        if "No transformation" not in str(error):
            raise
    for node in itertools.product(*(range(h + 1) for h in HEIGHTS)):
        hidden = counted(given, node)
        anonymous = hidden is not None and len(hidden) <= allowed
        if checker is None:
            assert not anonymous, node
            continue
        check = checker.check(node)
        assert check.anonymous == anonymous, node
        if anonymous:
            assert hidden is not None
            assert check.rows == len(hidden), node
            assert check.score is not None
            scores.append(check.score.key[0])
    if checker is not None:
        assert result.optimal
        assert result.check.score is not None
        assert result.check.score.key[0] == pytest.approx(min(scores), rel=1e-9)


def _payout(
    given: Table, node: Node, group: list[int], *, people: int, model: an.Profitability
) -> float:
    """The publisher's expected gain from a row of a class."""
    cells = math.prod(len(h.levels) for h in given.hierarchies.values())
    covered = math.prod(
        share * len(h.levels)
        for share, h in zip(
            given.shares(node, group[0]), given.hierarchies.values(), strict=True
        )
    )
    lost = math.log(covered) / math.log(cells)
    gain = model.publisher_benefit * (1 - lost)
    if model.adversary_gain / people > model.adversary_cost:
        gain -= model.publisher_loss / people
    return gain


@pytest.mark.parametrize("limit", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("costs", [(10, 30, 12, 5), (10, 6, 40, 2), (1, 300, 12, 2)])
def test_profitability_against_a_prosecutor(
    limit: float, costs: tuple[float, ...]
) -> None:
    model = an.Profitability(*costs)
    holds = by_class(
        lambda t, node, g: _payout(t, node, g, people=len(g), model=model) > 0
    )
    for seed in range(3):
        assert_every_node(table(seed), [model], holds, limit=limit)


@pytest.mark.parametrize("limit", [0.2, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_profitability_against_a_journalist(seed: int, limit: float) -> None:
    people = table(seed, rows=3 * ROWS)
    sample = Table(people.frame.head(ROWS), people.hierarchies)
    model = an.Profitability(10, 30, 12, 2, population=people.frame)

    def holds(given: Table, node: Node, group: list[int]) -> bool:
        rows = bf.generalized(people.frame, people.hierarchies, node)
        count = rows.count(rows[group[0]])
        return _payout(given, node, group, people=count, model=model) > 0

    assert_every_node(sample, [model], by_class(holds), limit=limit)


@pytest.mark.parametrize("limit", [0.2, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_no_attack_pays(seed: int, limit: float) -> None:
    people = table(seed, rows=3 * ROWS)
    sample = Table(people.frame.head(ROWS), people.hierarchies)
    model = an.Profitability(10, 30, 12, 2, no_attack=True, population=people.frame)
    # An attack that gains just what it costs is not ruled out, as in ARX.
    assert model.least_class == 7
    assert_every_node(sample, [model], by_class(_at_least(people, 7)), limit=limit)
    alone = an.Profitability(10, 30, 12, 2.5, no_attack=True)
    assert alone.least_class == 5
    in_table = by_class(lambda _, __, group: len(group) >= 5)
    assert_every_node(sample, [alone], in_table, limit=limit)


def _at_least(people: Table, k: int) -> Callable[[Table, Node, list[int]], bool]:
    def holds(given: Table, node: Node, group: list[int]) -> bool:
        rows = bf.generalized(people.frame, people.hierarchies, node)
        return rows.count(rows[group[0]]) >= k

    return holds


@pytest.mark.parametrize("limit", [0.0, 0.3, 1.0])
def test_average_risk_and_sample_uniqueness(limit: float) -> None:
    average = smallest_first(lambda sizes: len(sizes) <= 0.2 * sum(sizes) + 1e-9)
    alone = smallest_first(lambda sizes: sizes.count(1) <= 0.1 * sum(sizes) + 1e-9)
    for seed in range(4):
        assert_every_node(table(seed), [an.AverageRisk(0.2)], average, limit=limit)
        assert_every_node(table(seed), [an.SampleUniqueness(0.1)], alone, limit=limit)


@pytest.mark.parametrize("bounds", [(0.3, 0.9), (0.5, 1.0), (0.0, 0.6)])
@pytest.mark.parametrize("limit", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_presence_between_both_bounds(
    seed: int, limit: float, bounds: tuple[float, float]
) -> None:
    lower, upper = bounds
    inside = (np.random.default_rng(seed).random(ROWS) < 0.6).tolist()

    def counted(given: Table, node: Node) -> set[int] | None:
        hidden: set[int] = set()
        for group in given.groups(node):
            here = [row for row in group if inside[row]]
            if not here and lower > 0:
                return None  # nothing to suppress that would raise it
            if not lower <= len(here) / len(group) <= upper:
                hidden.update(here)
        return hidden

    assert_every_node(
        table(seed),
        [an.DeltaPresence(lower, upper, inside)],
        counted,
        limit=limit,
        released=sum(inside),
    )


@given(
    seed=st.integers(0, 10_000),
    limit=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    k=st.integers(1, 4),
    distinct=st.integers(1, 3),
    t=st.sampled_from([0.3, 0.5, 0.8]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_models_together_over_two_sensitive_columns(
    seed: int, limit: float, k: int, distinct: int, t: float
) -> None:
    given = table(seed)
    close = bf.equal_closeness(given.values("t"), t)
    diverse = bf.distinct(given.values("s"), distinct)
    models = [
        an.KAnonymity(k),
        an.DistinctLDiversity("s", min(distinct, len(set(given.values("s"))))),
        an.EqualTCloseness("t", t),
    ]
    if distinct > len(set(given.values("s"))):
        return
    holds = by_class(lambda _, __, g: len(g) >= k and diverse(g) and close(g))
    assert_every_node(given, models, holds, limit=limit)


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-2), (0.5, 1e-3), (2.0, 1e-3)])
def test_sampling_takes_the_least_class_that_reaches_delta(
    epsilon: float, delta: float
) -> None:
    beta = 1 - math.exp(-epsilon)
    gamma = (math.exp(epsilon) - 1 + beta) / math.exp(epsilon)

    def tail(n: int) -> float:
        """P(Bin(n, beta) > gamma n), term by term."""
        first = math.floor(gamma * n) + 1
        return sum(
            math.comb(n, j) * beta**j * (1 - beta) ** (n - j)
            for j in range(first, n + 1)
        )

    def reached(k: int) -> float:
        first = max(math.ceil(k / gamma - 1), 1)
        return max(tail(n) for n in range(first, first + 200))

    k = an.EpsilonDeltaDP(epsilon, delta).k
    assert reached(k) <= delta < reached(k - 1)


def test_equal_scores_give_the_less_general_node() -> None:
    """Levels 1 and 2 of a hierarchy that does not differ there on this table."""
    rows = [("a", "ab", "ab", "*"), ("b", "ab", "ab", "*"), ("c", "c", "c", "*")]
    frame = pl.DataFrame({"q": ["a", "b", "c", "c"]})
    result = an.anonymize(
        frame,
        quasi_identifiers={"q": an.Hierarchy.from_rows(rows)},
        models=[an.KAnonymity(2)],
    )
    assert result.levels == {"q": 1}


@pytest.mark.parametrize("seed", range(8))
def test_the_node_that_is_taken_is_among_those_that_were_checked(seed: int) -> None:
    """Columns of weight 0 cost nothing: nodes tie, the less general one is taken."""
    given = table(seed)
    result = an.anonymize(
        given.frame,
        quasi_identifiers=given.hierarchies,
        models=[an.KAnonymity(2)],
        suppression_limit=0.3,
        metric=an.Loss(weights={"q0": 0.0, "q2": 0.0}),
    )
    nodes = [node.levels for node in result.nodes]
    assert result.check.levels in nodes
    assert len(set(nodes)) == len(nodes) == result.checked


def test_transform_is_the_node_that_the_search_checks() -> None:
    given = table(1)
    asked = {
        "quasi_identifiers": given.hierarchies,
        "models": [an.KAnonymity(3)],
        "suppression_limit": 0.3,
    }
    best = an.anonymize(given.frame, **asked)
    same = an.transform(given.frame, levels=best.levels, **asked)
    assert (same.score, same.suppressed) == (best.score, best.suppressed)
    assert same.frame.equals(best.frame)
    assert not same.optimal
    assert same.checked == 1
    assert 0 <= same.gap <= 1
    with pytest.raises(an.AnonymizeError, match="the limit is"):
        an.transform(given.frame, levels={"q0": 0, "q1": 0, "q2": 0}, **asked)


def test_a_lattice_of_many_millions_stops_in_time_and_tells_its_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock goes on by a second each time it is looked at, on any machine."""
    ticks = itertools.count(time.monotonic())
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr(search, "time", clock)
    rng = np.random.default_rng(3)
    frame, hierarchies = bf.random_table(rng, rows=200, heights=(5,) * 10)
    result = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(4)],
        suppression_limit=0.05,
        time_limit=300,
    )
    assert result.lattice_size == 6**10 > 10**7
    assert not result.optimal
    assert 0 < result.gap < 1
    rows = result.frame.select(list(hierarchies)).rows()
    shown = [row for row in rows if set(row) != {"*"}]
    assert min(Counter(shown).values()) >= 4
    assert result.suppressed <= 10
