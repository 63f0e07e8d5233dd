"""Every model against a check of its definition, row by row."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import uniqueness
from tests.unit.engines.anonymize import brute_force as bf

ROWS = 40


def _share_caps(values: list[str], cap) -> bf.Holds:
    whole = Counter(values)

    def holds(members: list[int]) -> bool:
        part = Counter(values[i] for i in members)
        return all(cap(part[v] / len(members), whole[v] / len(values)) for v in part)

    return holds


def _recursive(values: list[str], c: float, l: int) -> bf.Holds:  # noqa: E741
    def holds(members: list[int]) -> bool:
        counts = sorted(Counter(values[i] for i in members).values(), reverse=True)
        return len(counts) >= l and counts[0] < c * sum(counts[l - 1 :])

    return holds


def _ordered(values: list[str], t: float, order: str = "abcd") -> bf.Holds:
    known, whole = [v for v in order if v in values], Counter(values)

    def holds(members: list[int]) -> bool:
        part = Counter(values[i] for i in members)
        total = moved = 0.0
        for v in known:
            moved += part[v] / len(members) - whole[v] / len(values)
            total += abs(moved)
        return total <= t * (len(known) - 1) + 1e-12

    return holds


def _cases(frame: pl.DataFrame) -> list[tuple[an.Model, bf.Holds]]:
    s = frame["s"].to_list()
    subset = [i % 3 != 0 for i in range(frame.height)]
    tree = an.Hierarchy.from_rows([(v, v, "*") for v in "abcd"])
    assert sum(subset)
    return [
        (an.RecursiveCLDiversity("s", 3.0, 2), _recursive(s, 3.0, 2)),
        (an.OrderedTCloseness("s", 0.15), _ordered(s, 0.15)),
        (an.OrderedTCloseness("s", 0.15, "cadb"), _ordered(s, 0.15, "cadb")),
        # With every value its own branch the distance is that of equal values.
        (an.HierarchicalTCloseness("s", 0.3, tree), bf.equal_closeness(s, 0.3)),
        (
            an.BasicBetaLikeness("s", 0.6),
            _share_caps(s, lambda p, q: (p - q) / q <= 0.6 + 1e-12),
        ),
        (
            an.EnhancedBetaLikeness("s", 2.0),
            _share_caps(s, lambda p, q: (p - q) / q <= min(2.0, -math.log(q)) + 1e-12),
        ),
        (
            an.DeltaDisclosure("s", 0.9),
            _share_caps(s, lambda p, q: abs(math.log2(p / q)) < 0.9 - 1e-12),
        ),
    ]


@pytest.mark.parametrize("limit", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_optimum_of_each_model_equals_exhaustive_search(
    seed: int, limit: float
) -> None:
    rng = np.random.default_rng(100 + seed)
    frame, hierarchies = bf.random_table(rng, rows=ROWS, heights=(2, 2, 1))
    for model, holds in _cases(frame):
        expected = bf.best(frame, hierarchies, [holds], int(limit * ROWS + 1e-9))
        result = an.anonymize(
            frame,
            quasi_identifiers=hierarchies,
            models=[model],
            suppression_limit=limit,
        )
        assert result.optimal
        assert result.score == pytest.approx(expected, rel=1e-9), model.describe()


@pytest.mark.parametrize(
    "metric",
    [
        an.Loss(aggregate="sum", weights={"q0": 3.0}),
        an.Loss(aggregate="max"),
        an.Loss(aggregate="rank"),
        an.Loss(suppression_factor=0.2),
        an.Precision(suppression_factor=0.1),
        an.Precision(aggregate="geometric_mean"),
        an.NonUniformEntropy(),
        an.NonUniformEntropy(monotonic=True, aggregate="max"),
        an.Discernibility(),
        an.AverageClassSize(),
        an.KLDivergence(),
        an.ClassificationAccuracy("s"),
    ],
)
def test_optimum_of_each_metric_equals_checking_all_nodes(metric: an.Metric) -> None:
    for seed in range(3):
        rng = np.random.default_rng(200 + seed)
        frame, hierarchies = bf.random_table(rng, rows=ROWS, heights=(2, 2, 2))
        result = an.anonymize(
            frame,
            quasi_identifiers=hierarchies,
            models=[an.KAnonymity(3), an.EntropyLDiversity("s", 1.3)],
            suppression_limit=0.3,
            metric=metric,
        )
        scores = []
        for node in np.ndindex(3, 3, 3):
            check = result.checker.check(tuple(map(int, node)))
            if check.score is not None:
                scores.append(check.score)
        assert result.check.score is not None
        assert result.check.score.key == pytest.approx(min(scores).key, rel=1e-9)


def test_presence_and_inclusion_count_the_subset() -> None:
    frame = pl.DataFrame({"q": ["a"] * 4 + ["b"] * 4})
    roles = {"q": an.Hierarchy.suppress(["a", "b"])}
    subset = [True] * 3 + [False] + [True] + [False] * 3
    found = an.anonymize(
        frame, quasi_identifiers=roles, models=[an.DeltaPresence(0.4, 0.6, subset)]
    )
    assert found.levels == {"q": 1}
    assert found.suppressed_rows.to_list() == [not x for x in subset]
    kept = an.anonymize(
        frame, quasi_identifiers=roles, models=[an.Inclusion(subset), an.KAnonymity(3)]
    )
    assert kept.levels == {"q": 1}
    with pytest.raises(an.AnonymizeError, match="does not have"):
        an.anonymize(
            frame,
            quasi_identifiers=roles,
            models=[an.Inclusion(pl.DataFrame({"q": ["z"]}))],
        )


def test_k_map_counts_the_population() -> None:
    sample = pl.DataFrame({"q": ["a", "b"]})
    people = pl.DataFrame({"q": ["a"] * 5 + ["b"] * 2})
    roles = {"q": an.Hierarchy.suppress(["a", "b"])}
    result = an.anonymize(sample, quasi_identifiers=roles, models=[an.KMap(2, people)])
    assert result.levels == {"q": 0}
    assert result.risk.after.journalist.highest == pytest.approx(0.5)
    wider = an.anonymize(sample, quasi_identifiers=roles, models=[an.KMap(3, people)])
    assert wider.levels == {"q": 1}


def test_rows_suppressed_before_are_no_class() -> None:
    frame = pl.DataFrame({"q": ["a", "a", "*"], "r": ["x", "x", "*"]})
    roles = {name: an.Hierarchy.suppress(["a", "x"]) for name in frame.columns}
    result = an.anonymize(frame, quasi_identifiers=roles, models=[an.KAnonymity(2)])
    assert result.levels == {"q": 0, "r": 0}
    assert result.frame.rows() == [("a", "x"), ("a", "x"), ("*", "*")]


def test_population_estimates_agree_with_the_truth_roughly() -> None:
    rng = np.random.default_rng(5)
    people = rng.geometric(0.0005, 200_000)
    truth = (np.unique(people, return_counts=True)[1] == 1).sum() / len(people)
    sample = rng.choice(people, 10_000, replace=False)
    sizes = np.unique(sample, return_counts=True)[1]
    # The SNB model often has no solution; then its estimate is not a number.
    for estimator in ("dankar", "pitman", "zayatz"):
        part = uniqueness.estimate(sizes, population=200_000, estimator=estimator)
        assert truth / 30 < part < truth * 30, estimator
    assert uniqueness.estimate(np.array([2, 3]), population=100) == 0.0


def test_sampling_gives_larger_classes_for_smaller_delta() -> None:
    model = an.EpsilonDeltaDP(1.0, 1e-5)
    assert model.beta == pytest.approx(1 - math.exp(-1))
    assert an.EpsilonDeltaDP(1.0, 1e-9).k > model.k > 1
    frame = pl.DataFrame({"q": ["a", "b"] * 300})
    result = an.anonymize(
        frame,
        quasi_identifiers={"q": an.Hierarchy.suppress(["a", "b"])},
        models=[an.EpsilonDeltaDP(1.0, 1e-5, {"q": 0})],
    )
    assert result.checked == 1
    assert 0 < (result.frame["q"] == "*").sum() < 600


@pytest.mark.parametrize(
    "model",
    [
        an.EntropyLDiversity("s", 2),
        an.EntropyLDiversity("s", 1.9, "grassberger"),
        an.RecursiveCLDiversity("s", 1.5, 2),
    ],
)
def test_part_of_a_failing_class_may_hold(model: an.Model) -> None:
    """At the root all rows fail together; one part of them holds."""
    frame = pl.DataFrame(
        {"q": ["x"] * 4 + ["y"] * 12, "s": ["a", "b"] * 2 + ["a"] * 12}
    )
    result = an.anonymize(
        frame,
        quasi_identifiers={"q": an.Hierarchy.suppress(["x", "y"])},
        models=[model],
        suppression_limit=0.75,
    )
    assert (result.levels, result.suppressed) == ({"q": 0}, 12)
