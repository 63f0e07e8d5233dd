"""What metrics say of every node of small tables, against their formulas in Python."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from tests.unit.engines.anonymize import brute_force as bf

ROWS = 36
HEIGHTS = (2, 3, 1)
WEIGHTS = {"q0": 0.5, "q2": 3.0}  # q1 keeps 1
Node = tuple[int, ...]


def nodes(
    metric: an.Metric, *, seed: int
) -> Iterator[tuple[an.Result, Node, pl.DataFrame, Mapping[str, an.Hierarchy]]]:
    """Every node, with the result of the search applied at it."""
    frame, hierarchies = bf.random_table(
        np.random.default_rng(seed), rows=ROWS, heights=HEIGHTS
    )
    asked = {
        "quasi_identifiers": hierarchies,
        "models": [an.KAnonymity(3)],
        "suppression_limit": 1.0,
        "metric": metric,
    }
    for node in itertools.product(*(range(h + 1) for h in HEIGHTS)):
        levels = dict(zip(hierarchies, node, strict=True))
        yield an.transform(frame, levels=levels, **asked), node, frame, hierarchies


def hidden_rows(
    frame: pl.DataFrame, hierarchies: Mapping[str, an.Hierarchy], node: Node
) -> set[int]:
    rows = bf.generalized(frame, hierarchies, node)
    return bf.suppressed(rows, [bf.k_anonymous(3)])


def leaves(hierarchy: an.Hierarchy, value: str, level: int) -> int:
    """How many values share the label of this one."""
    label = next(path[level] for path in hierarchy.levels if path[0] == value)
    return sum(path[level] == label for path in hierarchy.levels)


@pytest.mark.parametrize("seed", range(3))
def test_divergence_is_that_of_the_rows_from_what_the_output_says(seed: int) -> None:
    """p: the share of rows with these values. q: the share of the rows of the class,
    spread evenly over its cells; of the suppressed rows, spread over all cells."""
    for result, node, frame, hierarchies in nodes(an.KLDivergence(), seed=seed):
        hidden = hidden_rows(frame, hierarchies, node)
        names = list(hierarchies)
        exact = Counter(frame.select(names).rows())
        shown = bf.generalized(frame, hierarchies, node)
        sizes = Counter(shown)
        everywhere = math.prod(len(h.levels) for h in hierarchies.values())
        expected = 0.0
        for row, values in enumerate(frame.select(names).rows()):
            p = exact[values] / ROWS
            if row in hidden:
                q = len(hidden) / ROWS / everywhere
            else:
                cells = math.prod(
                    leaves(h, value, level)
                    for h, value, level in zip(
                        hierarchies.values(), values, node, strict=True
                    )
                )
                q = sizes[shown[row]] / ROWS / cells
            expected += math.log2(p / q) / ROWS
        assert result.score == pytest.approx(expected, abs=1e-9)
        assert expected >= -1e-9


def loss_costs(
    frame: pl.DataFrame,
    hierarchies: Mapping[str, an.Hierarchy],
    node: Node,
    *,
    factor: float,
) -> list[float]:
    """A shown row costs g times its share, a suppressed one its share and s times what
    is left to 1; from the least possible to all rows."""
    hidden = hidden_rows(frame, hierarchies, node)
    g, s = min(1.0, 2 - 2 * factor), min(1.0, 2 * factor)
    costs = []
    for (name, h), level in zip(hierarchies.items(), node, strict=True):
        total = 0.0
        for row, value in enumerate(frame[name]):
            share = leaves(h, value, level) / len(h.levels)
            total += share + s * (1 - share) if row in hidden else g * share
        least = g * ROWS / len(h.levels)
        costs.append(max((total - least) / (ROWS - least), 0.0))
    return costs


def precision_costs(
    frame: pl.DataFrame,
    hierarchies: Mapping[str, an.Hierarchy],
    node: Node,
    *,
    factor: float,
) -> list[float]:
    part = len(hidden_rows(frame, hierarchies, node)) / ROWS
    g, s = min(1.0, 2 - 2 * factor), min(1.0, 2 * factor)
    return [
        (1 - part) * g * level / height + part * s
        for level, height in zip(node, HEIGHTS, strict=True)
    ]


def joined(costs: Sequence[float], weights: Sequence[float], aggregate: str) -> float:
    """Weights are exponents in the geometric mean, and factors elsewhere."""
    weighted = [cost * weight for cost, weight in zip(costs, weights, strict=True)]
    if aggregate == "geometric_mean":
        powers = [
            (1 + c) ** (w / sum(weights)) for c, w in zip(costs, weights, strict=True)
        ]
        return math.prod(powers) - 1
    if aggregate == "arithmetic_mean":
        return sum(weighted) / len(weighted)
    return sum(weighted) if aggregate == "sum" else max(weighted)


AGGREGATES = ("sum", "arithmetic_mean", "geometric_mean", "max", "rank")


@pytest.mark.parametrize("factor", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_costs_with_weights_and_a_factor_for_suppression(
    factor: float, aggregate: str
) -> None:
    weights = [WEIGHTS.get(f"q{j}", 1.0) for j in range(len(HEIGHTS))]
    asked = {"aggregate": aggregate, "weights": WEIGHTS, "suppression_factor": factor}
    suppressed = 0
    for metric, costed in ((an.Loss, loss_costs), (an.Precision, precision_costs)):
        for result, node, frame, hierarchies in nodes(metric(**asked), seed=7):
            costs = costed(frame, hierarchies, node, factor=factor)
            assert list(result.column_loss.values()) == pytest.approx(costs, abs=1e-9)
            expected = joined(costs, weights, aggregate)
            assert result.score == pytest.approx(expected, abs=1e-9)
            if aggregate == "rank":
                ranked = [c * w for c, w in zip(costs, weights, strict=True)]
                assert result.key == pytest.approx(sorted(ranked)[::-1], abs=1e-9)
            suppressed += result.suppressed
    assert suppressed > 0


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("factor", [0.2, 0.8])
def test_the_search_finds_the_least_of_the_formula(
    aggregate: str, factor: float
) -> None:
    weights = [WEIGHTS.get(f"q{j}", 1.0) for j in range(len(HEIGHTS))]
    for seed in range(4):
        frame, hierarchies = bf.random_table(
            np.random.default_rng(seed), rows=ROWS, heights=HEIGHTS
        )

        def cost(*told: object, at: Sequence[float] = tuple(weights)) -> float:
            frame, hierarchies, levels, _ = told
            costs = loss_costs(frame, hierarchies, levels, factor=factor)  # type: ignore[arg-type]
            return joined(costs, at, aggregate)

        least = bf.best(frame, hierarchies, [bf.k_anonymous(3)], 9, cost)
        found = an.anonymize(
            frame,
            quasi_identifiers=hierarchies,
            models=[an.KAnonymity(3)],
            suppression_limit=0.25,
            metric=an.Loss(
                aggregate=aggregate, weights=WEIGHTS, suppression_factor=factor
            ),
        )
        assert found.optimal
        assert found.score == pytest.approx(least, abs=1e-9)
