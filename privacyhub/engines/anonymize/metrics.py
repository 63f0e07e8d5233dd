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

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .classes import Classes
from .encoding import Bools, Floats, Ints, Problem
from .errors import AnonymizeError

AGGREGATES = ("sum", "arithmetic_mean", "geometric_mean", "max", "rank")


@dataclass(frozen=True, order=True)
class Score:
    """`key` orders transformations; `value` is the figure to show."""

    key: tuple[float, ...]
    value: float = field(compare=False)


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

    def by_column(self, classes: Classes, suppressed: Bools) -> dict[str, float] | None:
        """The cost of each column, for metrics that have one."""
        return None


@dataclass(frozen=True)
class Metric(ABC):
    """A metric's parameters."""

    @abstractmethod
    def bind(self, problem: Problem) -> Scorer: ...

    @abstractmethod
    def describe(self) -> str: ...


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

    def part(self, cost: Floats, column: int) -> Floats:
        """A column's costs in the domain of keys."""
        weight = self.weights[column]
        if self.name == "geometric_mean":
            return np.log1p(cost) * (weight / self.weights.sum())
        if self.name == "arithmetic_mean":
            return cost * (weight / len(self.weights))
        return cost * weight

    def score(self, costs: Floats) -> Score:
        parts = np.array([self.part(costs[j], j) for j in range(len(costs))])
        if self.name == "rank":
            key = tuple(np.sort(parts)[::-1].tolist())
            return Score(key=key, value=float(np.expm1(np.log1p(costs).mean())))
        key0 = float(self.join.reduce(parts))
        return Score(key=(key0,), value=self.shown(key0))

    def shown(self, lower: float) -> float:
        return float(np.expm1(lower)) if self.name == "geometric_mean" else lower


class ColumnScorer(Scorer):
    """Scores from a cost for each column, before aggregation."""

    def __init__(self, *, metric: ColumnMetric, problem: Problem) -> None:
        self.problem = problem
        self.metric = metric
        self.aggregate = Aggregate(metric=metric, problem=problem)
        self.join = self.aggregate.join

    @abstractmethod
    def costs(self, classes: Classes, suppressed: Bools) -> Floats:
        """The cost of each column, shape (columns,)."""

    def score(self, classes: Classes, suppressed: Bools) -> Score:
        return self.aggregate.score(self.costs(classes, suppressed))

    def cut(self, score: Score) -> float:
        if self.aggregate.name == "rank":  # an equal maximum may still be better
            return float(np.nextafter(score.key[0], np.inf))
        return super().cut(score)

    def shown(self, lower: float) -> float:
        return self.aggregate.shown(lower)

    def by_column(self, classes: Classes, suppressed: Bools) -> dict[str, float]:
        costs = self.costs(classes, suppressed).tolist()
        return {c.name: x for c, x in zip(self.problem.columns, costs, strict=True)}


@dataclass(frozen=True)
class Loss(ColumnMetric):
    """Share of the domain that a value stands for, averaged over the rows.

    For each column: sum over rows of the share of leaves (1 where suppressed), less
    the least possible N / leaves, over the most possible N less the same (Iyengar,
    2002, as in ARX).
    """

    def bind(self, problem: Problem) -> Scorer:
        return _LossScorer(metric=self, problem=problem)

    def describe(self) -> str:
        return f"loss ({self.aggregate.replace('_', ' ')})"


class _LossScorer(ColumnScorer):
    def __init__(self, *, metric: ColumnMetric, problem: Problem) -> None:
        super().__init__(metric=metric, problem=problem)
        self.cost = metric.generalization_cost
        self.suppression = metric.suppression_cost
        n = float(problem.total)
        self.least = np.array([self.cost * n / c.leaves for c in problem.columns])
        self.span = n - self.least
        # Sum of shares over all rows, by column and level.
        self.totals = [
            np.array([float(counts @ share) for share in column.shares])
            for column, counts in zip(problem.columns, problem.leaf_counts, strict=True)
        ]

    def _normalized(self, total: Floats, column: int) -> Floats:
        if self.span[column] <= 0:
            return np.zeros_like(total)
        return np.maximum((total - self.least[column]) / self.span[column], 0.0)

    def _extra(self, rows: Floats | float, share: Floats) -> Floats:
        """What suppressing rows adds, given the sum of their shares."""
        if self.suppression == 1.0:
            return rows - self.cost * share
        return self.suppression * (rows - share) + (1 - self.cost) * share

    def costs(self, classes: Classes, suppressed: Bools) -> Floats:
        out = np.empty(len(self.totals))
        size = classes.size[suppressed]
        rows = float(size.sum())
        for j, level in enumerate(classes.levels):
            total = self.cost * self.totals[j][level]
            if rows:
                codes = classes.codes[j][suppressed]
                share = size @ self.problem.columns[j].level_shares[level][codes]
                total += self._extra(rows, share)
            out[j] = self._normalized(np.array([total]), j)[0]
        return out

    def parts(self) -> list[Floats]:
        return [
            self.aggregate.part(self._normalized(self.cost * totals, j), j)
            for j, totals in enumerate(self.totals)
        ]

    def parts_below(
        self, classes: Classes, least: Ints, whole: Bools
    ) -> list[Floats] | None:
        """Rows lost for certain pay for suppression.

        Of classes lost as a whole the rows are known. Of the others only their number
        is; a row is cheapest to suppress where its share is largest, at this node.
        """
        rows = float(classes.size[whole].sum())
        counts = classes.leaf_counts(whole) if rows else None
        partly = least * ~whole
        any_partly = bool(partly.any())
        out = []
        for j, column in enumerate(self.problem.columns):
            top = classes.levels[j] + 1
            total = self.cost * self.totals[j][:top]
            if counts is not None:
                share = np.array([counts[j] @ s for s in column.shares[:top]])
                total = total + self._extra(rows, share)
            if any_partly:
                total = total + float(
                    (partly * self._extra(1.0, classes.shares(j))).sum()
                )
            out.append(self.aggregate.part(self._normalized(total, j), j))
        return out
