"""Metrics: what a transformation costs. Lower is better.

`bind` ties a metric to an encoded table and gives a `Scorer`. Besides scores, a
scorer gives lower bounds, all in the domain of a score's `key[0]`:

* `parts()`: a vector a column, one element a level; joined over the columns they bound
  the score of every node from below, suppression left aside (None: no such bound).
* `parts_below(...)`: the same for the specialisations of a checked node, given how many
  rows of each class are suppressed in all of them.
* `lower_above(...)`: one bound for all generalisations of a checked node.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .classes import Classes
from .encoding import Problem
from .errors import AnonymizeError
from .keys import Bools, Floats, Ints

AGGREGATES = ("sum", "arithmetic_mean", "geometric_mean", "max", "rank")


@dataclass(frozen=True, order=True)
class Score:
    """`key` orders transformations; `value` is the figure to show."""

    key: tuple[float, ...]
    value: float = field(compare=False)

    def no_worse(self, than: Sequence[float]) -> bool:
        """Whether the key is as low as another one, or lower, but for rounding."""
        return no_worse(self.key, than=than)


def no_worse(key: Sequence[float], *, than: Sequence[float]) -> bool:
    """Whether the first figure in which two keys differ is the lower one."""
    for own, other in zip(key, than, strict=True):
        if not math.isclose(own, other, rel_tol=1e-12):
            return own < other
    return True


def relative_gap(*, score: float, lower: float) -> float:
    """(score - lower) / score, from 0 to 1."""
    if not score > 0 or not np.isfinite(lower):
        return 0.0 if score <= 0 else 1.0
    return float(min(max((score - lower) / score, 0.0), 1.0))


class Scorer(ABC):
    """A metric tied to a table."""

    join: np.ufunc = np.add

    @abstractmethod
    def score(self, classes: Classes, suppressed: Bools) -> Score:
        """The score of a node with these classes suppressed."""

    def cut(self, score: Score) -> float:
        """Nodes whose lower bound reaches this cannot be better."""
        return score.key[0] - 1e-13 * abs(score.key[0])

    def shown(self, lower: float) -> float:
        """A lower bound in the domain of `Score.value`."""
        return lower

    def parts(self) -> list[Floats] | None:
        return None

    def parts_below(
        self, classes: Classes, least: Ints, whole: Bools
    ) -> list[Floats] | None:
        return None

    def lower_above(self, classes: Classes) -> float | None:
        return None

    def class_order(self, classes: Classes) -> Floats:
        """Which of two classes of one size is cheaper to suppress: the lower one."""
        return np.zeros(len(classes))


@dataclass(frozen=True)
class Metric(ABC):
    """A metric's parameters."""

    @abstractmethod
    def bind(self, problem: Problem) -> Scorer:
        """Tie the metric to a table; raises AnonymizeError if it does not fit."""

    @property
    def responses(self) -> tuple[str, ...]:
        """Columns besides the quasi-identifiers that the metric looks at."""
        return ()

    @abstractmethod
    def describe(self) -> str:
        """The metric in one phrase, for pages and reports."""


@dataclass(frozen=True)
class ColumnMetric(Metric):
    """A metric that costs each column and aggregates the costs.

    `weights`: by column, 1 where not given. `suppression_factor`: 0 favours
    suppression, 1 favours generalization, 0.5 treats both alike, as in ARX.
    """

    aggregate: str = "geometric_mean"
    weights: Mapping[str, float] = field(default_factory=dict)
    suppression_factor: float = 0.5

    def __post_init__(self) -> None:
        if self.aggregate not in AGGREGATES:
            raise AnonymizeError(f"The aggregate must be one of {AGGREGATES}.")
        if not 0 <= self.suppression_factor <= 1:
            raise AnonymizeError("The suppression factor must be from 0 to 1.")
        if any(not w >= 0 for w in self.weights.values()):
            raise AnonymizeError("Weights must not be below 0.")

    @property
    def generalization_cost(self) -> float:
        return min(1.0, 2.0 - 2.0 * self.suppression_factor)

    @property
    def suppression_cost(self) -> float:
        return min(1.0, 2.0 * self.suppression_factor)


class Aggregate:
    """Joins the costs of the columns; monotone in each of them.

    Weights multiply costs, except in the geometric mean, where they are exponents (a
    constant factor, as in ARX, would not change the order of any two nodes).
    """

    def __init__(self, *, metric: ColumnMetric, problem: Problem) -> None:
        names = [column.name for column in problem.columns]
        unknown = set(metric.weights) - set(names)
        if unknown:
            raise AnonymizeError("A weight names a column that is no quasi-identifier.")
        self.name = metric.aggregate
        self.weights = np.array([metric.weights.get(n, 1.0) for n in names])
        if not self.weights.sum() > 0:
            raise AnonymizeError("At least one weight must be above 0.")
        self.join: np.ufunc = np.maximum if self.name in ("max", "rank") else np.add

    def part(self, cost: Floats, column: Ints | int) -> Floats:
        """Costs in the domain of keys: of one column, or each with its column."""
        weight = self.weights[column]
        if self.name == "geometric_mean":
            return np.log1p(cost) * (weight / self.weights.sum())
        if self.name == "arithmetic_mean":
            return cost * (weight / len(self.weights))
        return cost * weight

    def score(self, costs: Floats) -> Score:
        parts = self.part(costs, np.arange(len(costs)))
        if self.name == "rank":
            # The figure is the largest cost, which is what bounds are bounds of.
            key = tuple(np.sort(parts)[::-1].tolist())
            return Score(key=key, value=key[0])
        key0 = float(self.join.reduce(parts))
        return Score(key=(key0,), value=self.shown(key0))

    def shown(self, lower: float) -> float:
        return float(np.expm1(lower)) if self.name == "geometric_mean" else lower
