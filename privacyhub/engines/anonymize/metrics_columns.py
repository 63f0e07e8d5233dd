"""Metrics that cost each column: loss, precision, non-uniform entropy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .classes import Classes
from .encoding import Problem
from .keys import Bools, Floats, Ints, count_by
from .metrics import Aggregate, ColumnMetric, Score, Scorer


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

    @abstractmethod
    def row_costs(self, column: int, level: int) -> Floats:
        """What a row of each level-0 code adds to the cost, shown at a level."""

    @abstractmethod
    def hidden_costs(self, column: int) -> Floats:
        """The same for a row that says nothing, shape (values,)."""

    def normalized(self, total: float, column: int) -> float:
        """A column's cost, from the sum over all rows."""
        return total

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

    def bind(self, problem: Problem) -> ColumnScorer:
        return _LossScorer(metric=self, problem=problem)

    def describe(self) -> str:
        return f"loss ({self.aggregate.replace('_', ' ')})"


class _LossScorer(ColumnScorer):
    """Works on all levels of all columns at once: one array, column by column."""

    def __init__(self, *, metric: ColumnMetric, problem: Problem) -> None:
        super().__init__(metric=metric, problem=problem)
        self.cost = metric.generalization_cost
        self.suppression = metric.suppression_cost
        n = float(problem.total)
        leaves = np.array([float(column.leaves) for column in problem.columns])
        self.least = self.cost * n / leaves
        span = n - self.least
        self.span = np.where(span > 0, span, np.inf)  # else nothing can be lost
        levels = [len(column.levels) for column in problem.columns]
        self.column = np.repeat(np.arange(len(levels)), levels)
        self.first = np.cumsum([0, *levels[:-1]])
        # Sum of shares over all rows.
        self.totals = problem.joint.shares(problem.joint.of_all)

    def _normalized(self, total: Floats, column: Ints | int) -> Floats:
        return np.maximum((total - self.least[column]) / self.span[column], 0.0)

    def row_costs(self, column: int, level: int) -> Floats:
        return self.cost * self.problem.columns[column].shares[level]

    def hidden_costs(self, column: int) -> Floats:
        return np.ones(self.problem.columns[column].sizes[0])

    def normalized(self, total: float, column: int) -> float:
        return float(self._normalized(np.array(total), column))

    def _extra(self, rows: float, share: Any) -> Any:
        """What suppressing rows adds, given the sum of their shares."""
        if self.suppression == 1.0:
            return rows - self.cost * share
        return self.suppression * (rows - share) + (1 - self.cost) * share

    def costs(self, classes: Classes, suppressed: Bools) -> Floats:
        at = self.first + classes.levels
        total = self.cost * self.totals[at]
        if suppressed.any():
            rows, shares = classes.lost(suppressed)
            total += self._extra(rows, shares[at])
        return self._normalized(total, np.arange(len(at)))

    def parts(self) -> list[Floats]:
        return self._parts(self.cost * self.totals, top=self.problem.heights)

    def _parts(self, total: Floats, *, top: Sequence[int]) -> list[Floats]:
        """A vector for each column, up to its top level, from sums over all rows."""
        costs = self._normalized(total, self.column)
        parts = self.aggregate.part(costs, self.column)
        levels = zip(self.first.tolist(), top, strict=True)
        return [parts[first : first + level + 1] for first, level in levels]

    def parts_below(
        self, classes: Classes, least: Ints, whole: Bools
    ) -> list[Floats] | None:
        """Rows lost for certain pay for suppression.

        Of classes lost as a whole the rows are known. Of the others only their number
        is; a row is cheapest to suppress where its share is largest, at this node.
        """
        total = self.cost * self.totals
        if whole.any():
            total += self._extra(*classes.lost(whole))
        partly = least * ~whole
        if partly.any():
            extra = [
                float((partly * self._extra(1.0, classes.shares(j))).sum())
                for j in range(len(self.first))
            ]
            total += np.array(extra)[self.column]
        return self._parts(total, top=classes.levels)

    def class_order(self, classes: Classes) -> Floats:
        """The aggregate of each class's shares, not normalized, as in ARX."""
        total = np.zeros(len(classes))
        for j in range(len(self.first)):
            total += np.log1p(classes.size * classes.shares(j))
        return total


@dataclass(frozen=True)
class Precision(ColumnMetric):
    """Level over height for each column; suppressed rows count as fully general.

    Sweeney (2002); the mean over the columns by default.
    """

    aggregate: str = "arithmetic_mean"

    def bind(self, problem: Problem) -> Scorer:
        return _PrecisionScorer(metric=self, problem=problem)

    def describe(self) -> str:
        return f"precision ({self.aggregate.replace('_', ' ')})"


class _PrecisionScorer(ColumnScorer):
    def __init__(self, *, metric: ColumnMetric, problem: Problem) -> None:
        super().__init__(metric=metric, problem=problem)
        self.general = [
            metric.generalization_cost * np.arange(h + 1) / max(h, 1)
            for h in problem.heights
        ]
        self.hidden = metric.suppression_cost

    def row_costs(self, column: int, level: int) -> Floats:
        return self._each(column, cost=float(self.general[column][level]))

    def hidden_costs(self, column: int) -> Floats:
        return self._each(column, cost=self.hidden)

    def _each(self, column: int, *, cost: float) -> Floats:
        part = cost / max(self.problem.total, 1)
        return np.full(self.problem.columns[column].sizes[0], part)

    def costs(self, classes: Classes, suppressed: Bools) -> Floats:
        part = float(classes.size[suppressed].sum()) / max(self.problem.total, 1)
        return np.array(
            [
                (1 - part) * general[level] + part * self.hidden
                for general, level in zip(self.general, classes.levels, strict=True)
            ]
        )

    def parts(self) -> list[Floats]:
        return [
            self.aggregate.part(np.minimum(general, self.hidden), j)
            for j, general in enumerate(self.general)
        ]

    def parts_below(
        self, classes: Classes, least: Ints, whole: Bools
    ) -> list[Floats] | None:
        part = float(least.sum()) / max(self.problem.total, 1)
        out = []
        for j, level in enumerate(classes.levels):
            cheapest = np.minimum(self.general[j][: level + 1], self.hidden)
            cost = (1 - part) * cheapest + part * self.hidden
            out.append(self.aggregate.part(cost, j))
        return out


@dataclass(frozen=True)
class NonUniformEntropy(ColumnMetric):
    """Bits that it takes to tell the original values from the generalized ones.

    For each column: - sum over rows of log2(frequency of the value / of its label);
    for suppressed rows, besides, the same from their labels to all suppressed rows
    (as in ARX; after de Waal and Willenborg, 1999). `monotonic` leaves suppression out
    of account, which is ARX's monotonic variant. The sum over the columns by default.
    """

    aggregate: str = "sum"
    monotonic: bool = False

    def bind(self, problem: Problem) -> Scorer:
        return _EntropyScorer(metric=self, problem=problem)

    def describe(self) -> str:
        return f"non-uniform entropy ({self.aggregate.replace('_', ' ')})"


class _EntropyScorer(ColumnScorer):
    def __init__(self, *, metric: NonUniformEntropy, problem: Problem) -> None:
        super().__init__(metric=metric, problem=problem)
        self.hidden = 0.0 if metric.monotonic else metric.suppression_cost
        self.cost = metric.generalization_cost
        self.general = []
        for j, (column, counts) in enumerate(
            zip(problem.columns, problem.leaf_counts, strict=True)
        ):
            bits = [float(counts @ self._bits(j, level)) for level in column.levels]
            self.general.append(self.cost * np.array(bits))

    def _bits(self, column: int, level: int) -> Floats:
        """- log2(frequency of the value / of its label) by code; 0 for no rows."""
        counts, one = self.problem.leaf_counts[column], self.problem.columns[column]
        mapping = one.maps[level]
        label = count_by(mapping, weights=counts, size=one.sizes[level])[mapping]
        out = np.zeros(len(counts))
        present = counts > 0
        out[present] = -np.log2(counts[present] / label[present])
        return out

    def row_costs(self, column: int, level: int) -> Floats:
        return self.cost * self._bits(column, level)

    def hidden_costs(self, column: int) -> Floats:
        return self.row_costs(column, self.problem.columns[column].height)

    def costs(self, classes: Classes, suppressed: Bools) -> Floats:
        out = np.array(
            [g[level] for g, level in zip(self.general, classes.levels, strict=True)]
        )
        rows = classes.size[suppressed]
        if self.hidden and rows.any():
            for j, level in enumerate(classes.levels):
                counts = count_by(
                    classes.codes[j][suppressed],
                    weights=rows,
                    size=self.problem.columns[j].sizes[level],
                )
                out[j] += self.hidden * _bits(counts)
        return np.maximum(out, 0.0)

    def parts(self) -> list[Floats]:
        return [
            self.aggregate.part(np.maximum(g, 0), j) for j, g in enumerate(self.general)
        ]

    def parts_below(
        self, classes: Classes, least: Ints, whole: Bools
    ) -> list[Floats] | None:
        """Bits of suppressed rows only grow when rows join (entropy is concave)."""
        if not self.hidden or not whole.any():
            return None
        leaves = classes.leaf_counts(whole)
        out = []
        for j, column in enumerate(self.problem.columns):
            cost = self.general[j][: classes.levels[j] + 1].copy()
            for level in range(len(cost)):
                counts = count_by(
                    column.maps[level], weights=leaves[j], size=column.sizes[level]
                )
                cost[level] += self.hidden * _bits(counts)
            out.append(self.aggregate.part(np.maximum(cost, 0), j))
        return out


def _bits(counts: Ints) -> float:
    """Entropy in bits of all rows of a histogram together."""
    present = counts[counts > 0].astype(float)
    total = present.sum()
    return float((present * np.log2(total / present)).sum())
