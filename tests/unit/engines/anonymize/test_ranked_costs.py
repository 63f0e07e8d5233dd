"""Ranked costs: the worst column decides, then the next worst; so does every proof."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import search
from tests.unit.engines.anonymize import brute_force as bf

PAIRS = pl.DataFrame({"q0": ["a1", "a2", "b1", "b2"], "q1": ["x1", "x2", "x1", "x2"]})
BY_NAME = {
    "q0": an.Hierarchy.from_rows([[v, v[0], "*"] for v in ("a1", "a2", "b1", "b2")]),
    "q1": an.Hierarchy.from_rows([[v, v[0], "*"] for v in ("x1", "x2")]),
}


def ranked(**changed: object) -> an.Result:
    return an.anonymize(
        PAIRS,
        quasi_identifiers=BY_NAME,
        models=[an.KAnonymity(2)],
        metric=an.Precision(aggregate="rank"),
        **changed,
    )


def test_the_figure_is_the_worst_column_and_the_mean_decides_nothing() -> None:
    """Costs (0.5, 0.5) rank before (1, 0), whose geometric mean is lower."""
    best = ranked()
    assert best.optimal
    assert best.levels == {"q0": 1, "q1": 1}
    assert best.score == 0.5
    other = best.apply({"q0": 2, "q1": 0})
    assert other.score == 1.0
    assert not other.optimal
    assert other.gap == 0.5


def test_a_node_of_the_same_worst_column_is_not_the_best() -> None:
    best = ranked()
    worse = best.apply({"q0": 2, "q1": 2})
    equal = best.apply({"q0": 2, "q1": 0}).apply({"q0": 1, "q1": 1})
    assert not worse.optimal
    assert an.no_worse(equal.key, than=best.key)
    assert not an.no_worse((1.0, 0.5), than=(1.0, 0.0))
    assert an.no_worse((1.0, 0.0), than=(1.0 - 1e-15, 0.5))


@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_of_ranked_costs_against_every_node(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame, hierarchies = bf.random_table(rng, rows=40, heights=(2, 3, 2))
    weights = {"q0": 2.0, "q2": 0.5}
    best = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(3)],
        suppression_limit=0.2,
        metric=an.Precision(aggregate="rank", weights=weights),
    )
    heights = (2, 3, 2)
    costs = {}
    for node in itertools.product(*(range(h + 1) for h in heights)):
        hidden = bf.suppressed(
            bf.generalized(frame, hierarchies, node), [bf.k_anonymous(3)]
        )
        if len(hidden) <= 8:
            part = len(hidden) / 40
            each = [
                ((1 - part) * level / height + part) * weight
                for level, height, weight in zip(
                    node, heights, (2.0, 1.0, 0.5), strict=True
                )
            ]
            costs[node] = sorted(each, reverse=True)
    least = min(costs.values())
    assert best.optimal
    assert best.key == pytest.approx(least)
    assert best.score == pytest.approx(least[0])
    for node, cost in costs.items():
        applied = best.apply(dict(zip(hierarchies, node, strict=True)))
        assert applied.optimal == (cost == pytest.approx(least, rel=1e-9))


@pytest.mark.parametrize("ticks", range(1, 8))
def test_the_gap_of_a_stopped_search_reaches_the_optimum(
    monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    """Bound and figure are of one kind: the largest cost."""
    frame, hierarchies = bf.random_table(
        np.random.default_rng(2), rows=80, heights=(3, 3, 3)
    )
    asked = {
        "quasi_identifiers": hierarchies,
        "models": [an.KAnonymity(3)],
        "suppression_limit": 0.05,
        "metric": an.Precision(aggregate="rank"),
    }
    best = an.anonymize(frame, **asked)
    clock = itertools.count()
    monkeypatch.setattr(search.time, "monotonic", lambda: float(next(clock)))
    try:
        stopped = an.anonymize(frame, time_limit=float(ticks), **asked)
    except an.AnonymizeTimeout:
        return
    assert stopped.score * (1 - stopped.gap) <= best.score + 1e-12
    assert stopped.score >= best.score
