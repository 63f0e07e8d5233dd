"""A node of an earlier run's solution space, where ranked costs compare the nodes."""

from __future__ import annotations

from typing import Any

import pytest

from privacyhub.anonymization import narration, outcomes
from privacyhub.engines import anonymize as an
from tests.unit.engines.anonymize.test_ranked_costs import BY_NAME, PAIRS


def asked() -> dict[str, Any]:
    return {
        "quasi_identifiers": BY_NAME,
        "models": [an.KAnonymity(2)],
        "metric": an.Precision(aggregate="rank"),
    }


@pytest.fixture
def earlier() -> dict[str, Any]:
    best = an.anonymize(PAIRS, **asked())
    return outcomes.describe(best=best, chosen=best, answers=[])


def applied(earlier: dict[str, Any], **levels: int) -> dict[str, Any]:
    node = an.transform(PAIRS, levels=levels, **asked())
    told = outcomes.describe(best=node, chosen=node, answers=[])
    return told | outcomes.of_search(told, earlier=earlier)


def of_before(told: dict[str, Any]) -> dict[str, Any]:
    """As it was kept when the figure was the geometric mean of the costs."""
    old = {name: value for name, value in told.items() if name != "key"}
    best = {n: v for n, v in told["optimum"].items() if n != "key"}
    return old | {"score": 0.41, "optimum": best | {"score": 0.41}}


def test_another_node_is_not_the_best_by_its_mean(earlier: dict[str, Any]) -> None:
    other = applied(earlier, q0=2, q1=0)
    assert not other["optimal"]
    assert other["gap"] == 0.5
    same = applied(earlier, q0=1, q1=1)
    assert same["optimal"]
    assert same["gap"] == 0.0


def test_a_run_of_before_proves_its_own_node_alone(earlier: dict[str, Any]) -> None:
    old = of_before(earlier)
    same = applied(old, q0=1, q1=1)
    assert same["optimal"]
    other = applied(old, q0=2, q1=0)
    assert not other["optimal"]
    assert other["gap"] is None
    lines = " ".join(narration.explain(other | {"score_unit": ""}))
    assert "that of the best that was found not known" in lines
    stopped = same | {"optimal": False, "gap": None, "score_unit": ""}
    assert "not kept" in " ".join(narration.explain(stopped))


def test_a_run_of_before_whose_figure_is_the_key_is_compared_by_it() -> None:
    plain = asked() | {"metric": an.Precision()}
    best = an.anonymize(PAIRS, **plain)
    told = outcomes.describe(best=best, chosen=best, answers=[])
    del told["key"], told["optimum"]["key"]
    for levels in ({"q0": 1, "q1": 1}, {"q0": 2, "q1": 0}, {"q0": 2, "q1": 1}):
        node = an.transform(PAIRS, levels=levels, **plain)
        found = outcomes.describe(best=node, chosen=node, answers=[])
        found |= outcomes.of_search(found, earlier=told)
        assert found["optimal"] == (found["score"] <= told["score"])
        assert found["gap"] == pytest.approx(1 - told["score"] / found["score"])
