"""Local recoding under models that compare a class with the whole table."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacyhub.engines import anonymize as an
from tests.unit.engines.anonymize import brute_force as bf

VALUES = ["1", "2", "3", "4", "5"]
TREE = an.Hierarchy(
    [
        ["1", "a", "*"],
        ["2", "a", "*"],
        ["3", "b", "*"],
        ["4", "b", "*"],
        ["5", "c", "*"],
    ]
)
Parts = dict[str, float]
Distance = Callable[[Parts, Parts], float]


def parts(values: Sequence[str]) -> Parts:
    return {v: n / len(values) for v, n in Counter(values).items()}


def equal(p: Parts, q: Parts) -> float:
    return sum(abs(p.get(v, 0) - q[v]) for v in q) / 2


def ordered(p: Parts, q: Parts) -> float:
    """The earth mover's distance on a line; values lie at their ranks in the table."""
    moved, total = 0.0, 0.0
    for value in sorted(q):
        moved += p.get(value, 0) - q[value]
        total += abs(moved)
    return total / (len(q) - 1)


def hierarchical(p: Parts, q: Parts) -> float:
    """Within a branch at half the height, then between branches."""
    cost = 0.0
    groups: dict[str, list[float]] = defaultdict(list)
    for value in q:
        path = next(path for path in TREE.levels if path[0] == value)
        groups[path[1]].append(p.get(value, 0) - q[value])
    for extra in groups.values():
        over = sum(x for x in extra if x > 0)
        cost += 0.5 * min(over, over - sum(extra))
    sums = [sum(extra) for extra in groups.values()]
    over = sum(x for x in sums if x > 0)
    return cost + min(over, over - sum(sums))


def basic(p: Parts, q: Parts) -> float:
    return max(p[v] / q[v] - 1 for v in p)


def enhanced(p: Parts, q: Parts) -> float:
    """How far past min(1, -ln q) the gain is, with beta = 1; at most 0 is wanted."""
    return max(p[v] / q[v] - 1 - min(1.0, -math.log(q[v])) for v in p)


MODELS: dict[str, tuple[an.Model, Distance, float]] = {
    "equal": (an.EqualTCloseness("s", 0.25), equal, 0.25),
    "ordered": (an.OrderedTCloseness("s", 0.15), ordered, 0.15),
    "hierarchical": (an.HierarchicalTCloseness("s", 0.2, TREE), hierarchical, 0.2),
    "basic": (an.BasicBetaLikeness("s", 1.0), basic, 1.0),
    "enhanced": (an.EnhancedBetaLikeness("s", 1.0), enhanced, 0.0),
}


def table(seed: int) -> tuple[pl.DataFrame, dict[str, an.Hierarchy]]:
    """Where a value of q0 goes with another distribution of s, and some are rare."""
    rng = np.random.default_rng(seed)
    frame, hierarchies = bf.random_table(rng, rows=150, heights=(2, 2, 1), values=6)
    shares = rng.dirichlet(np.full(len(VALUES), 0.7), size=6)
    rows = [rng.choice(VALUES, p=shares[int(v[1:]) // 2]) for v in frame["q0"]]
    return frame.with_columns(s=pl.Series(rows)), hierarchies


@settings(max_examples=120, deadline=None)
@given(name=st.sampled_from(sorted(MODELS)), seed=st.integers(0, 5000))
def test_every_group_of_the_output_keeps_the_model_of_the_whole_table(
    name: str, seed: int
) -> None:
    model, distance, most = MODELS[name]
    frame, hierarchies = table(seed)
    try:
        found = an.recode_locally(
            frame,
            quasi_identifiers=hierarchies,
            models=[an.KAnonymity(3), model],
            suppression_limit=0.3,
        )
    except an.AnonymizeError:
        return
    whole = parts(frame["s"].to_list())
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row, hidden in enumerate(found.suppressed_rows):
        if not hidden:
            labels = found.frame.select(list(hierarchies)).row(row)
            groups[labels].append(frame["s"][row])
    for values in groups.values():
        assert len(values) >= 3
        assert distance(parts(values), whole) <= most + 1e-9


def test_a_round_is_held_to_the_table_and_not_to_its_own_rows() -> None:
    """What is left after a round is all "2": close to itself, far from the table."""
    frame = pl.DataFrame({"q": ["a"] * 8 + ["b"] * 4, "s": ["1", "2"] * 4 + ["2"] * 4})
    asked = {
        "quasi_identifiers": {"q": an.Hierarchy.suppress(["a", "b"])},
        "suppression_limit": 0.5,
    }
    found = an.recode_locally(frame, models=[an.EqualTCloseness("s", 0.2)], **asked)
    assert found.suppressed == 4
    assert found.frame["q"].to_list() == ["a"] * 8 + ["*"] * 4
    hidden = pl.DataFrame({"q": ["*"] * 40, "s": ["1"] * 40})  # suppressed before
    more = an.recode_locally(
        pl.concat([frame, hidden]), models=[an.EqualTCloseness("s", 0.2)], **asked
    )
    assert more.frame["q"].to_list() == ["a"] * 8 + ["*"] * 44
    with pytest.raises(an.AnonymizeError, match="joining two classes"):
        an.recode_locally(frame, models=[an.DeltaDisclosure("s", 2)], **asked)


def test_values_that_a_round_lacks_count_in_its_distance() -> None:
    """Rows of "1" and "5" alone, of a table that has all of 1 to 5."""
    frame = pl.DataFrame({"q": ["a"] * 4, "s": ["1", "5", "1", "5"]})
    whole = pl.DataFrame({"s": VALUES * 4})
    for model, distance in (
        (an.EqualTCloseness("s", 1), equal),
        (an.OrderedTCloseness("s", 1), ordered),
        (an.HierarchicalTCloseness("s", 1, TREE), hierarchical),
    ):
        check = an.transform(
            frame,
            levels={"q": 0},
            quasi_identifiers={"q": an.Hierarchy.suppress(["a"])},
            models=[model.in_parts_of(whole)],
        )
        [test] = check.checker.tests
        expected = distance(parts(frame["s"].to_list()), parts(VALUES))
        assert test.distance(check.check.classes) == pytest.approx(  # type: ignore[attr-defined]
            [expected]
        )
