"""Metrics of the classes: discernibility, class size, KL divergence, classification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .classes import Classes
from .encoding import Problem
from .errors import AnonymizeError
from .keys import Bools, Floats
from .metrics import Metric, Score, Scorer


def _score(value: float) -> Score:
    return Score(key=(value,), value=value)


@dataclass(frozen=True)
class Discernibility(Metric):
    """Sum of squared class sizes; each suppressed row costs as much as all rows.

    Bayardo and Agrawal (2005). `monotonic`: ARX's variant DM*, which counts suppressed
    classes like the others.
    """

    monotonic: bool = False

    def bind(self, problem: Problem) -> Scorer:
        return _DiscernibilityScorer(self, problem)

    def describe(self) -> str:
        return "discernibility"


class _DiscernibilityScorer(Scorer):
    def __init__(self, metric: Discernibility, problem: Problem) -> None:
        self.monotonic = metric.monotonic
        self.rows = float(problem.total)

    def score(self, classes: Classes, suppressed: Bools) -> Score:
        size = classes.size.astype(float)
        cost = size * size
        if not self.monotonic:
            cost = np.where(suppressed, size * self.rows, cost)
        return _score(float(cost.sum()))

    def lower_above(self, classes: Classes) -> float:
        """Classes only merge, and no row costs more than when suppressed."""
        size = classes.size.astype(float)
        return float((size * size).sum())


@dataclass(frozen=True)
class AverageClassSize(Metric):
    """Rows over classes; the suppressed rows, if any, are one class (LeFevre, 2006).

    `suppression_factor` as in ARX, where it weighs the two kinds of class.
    """

    suppression_factor: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.suppression_factor <= 1:
            raise AnonymizeError("The suppression factor must be above 0, at most 1.")

    def bind(self, problem: Problem) -> Scorer:
        return _AverageScorer(self, problem)

    def describe(self) -> str:
        return "average class size"


class _AverageScorer(Scorer):
    def __init__(self, metric: AverageClassSize, problem: Problem) -> None:
        self.rows = float(problem.total)
        self.shown_class = min(1.0, 2.0 * metric.suppression_factor)
        self.hidden_class = min(1.0, 2.0 - 2.0 * metric.suppression_factor)

    def score(self, classes: Classes, suppressed: Bools) -> Score:
        present = classes.size > 0
        groups = float((present & ~suppressed).sum()) * self.shown_class
        if (present & suppressed).any():
            groups += self.hidden_class
        return _score(self.rows / groups if groups else np.inf)

    def lower_above(self, classes: Classes) -> float:
        """Generalizing only merges classes; suppression adds at most one."""
        present = float((classes.size > 0).sum())
        return self.rows / (present * self.shown_class + self.hidden_class)


@dataclass(frozen=True)
class KLDivergence(Metric):
    """Bits from the distribution of the rows to what the output says of it.

    The output says that the rows of a class are spread evenly over the cells that its
    labels cover, and suppressed rows over all cells (Kifer and Gehrke, 2006).
    """

    def bind(self, problem: Problem) -> Scorer:
        return _DivergenceScorer(problem)

    def describe(self) -> str:
        return "KL divergence"


class _DivergenceScorer(Scorer):
    def __init__(self, problem: Problem) -> None:
        exact = Classes(problem=problem, levels=(0,) * len(problem.columns))
        part = exact.size[exact.size > 0] / problem.total
        self.exact = float((part * np.log2(part)).sum())
        self.rows = float(problem.total)
        self.leaves = [float(column.leaves) for column in problem.columns]

    def score(self, classes: Classes, suppressed: Bools) -> Score:
        area = np.zeros(len(classes))
        for j, leaves in enumerate(self.leaves):
            area += np.log2(np.where(suppressed, 1.0, classes.shares(j)) * leaves)
        hidden = float(classes.size[suppressed].sum())
        rows = np.where(suppressed, hidden, classes.size) / self.rows
        part = classes.size / self.rows
        present = classes.size > 0
        said = part[present] * (np.log2(rows[present]) - area[present])
        return _score(self.exact - float(said.sum()))


@dataclass(frozen=True)
class ClassificationAccuracy(Metric):
    """Rows whose target value cannot be told from their class (Iyengar, 2002).

    A row costs 1 where another value is the most frequent one of its class or no
    value is more frequent than the others, and `suppressed_cost` where it is
    suppressed; over all rows. `target` is not a quasi-identifier.
    """

    target: str
    suppressed_cost: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.suppressed_cost <= 1:
            raise AnonymizeError("The cost of a suppressed row must be from 0 to 1.")

    @property
    def responses(self) -> tuple[str, ...]:
        return (self.target,)

    def bind(self, problem: Problem) -> Scorer:
        return _ClassificationScorer(self, problem)

    def describe(self) -> str:
        return f"classification of {self.target}"


class _ClassificationScorer(Scorer):
    def __init__(self, metric: ClassificationAccuracy, problem: Problem) -> None:
        self.metric = metric
        self.rows = float(problem.total)

    def score(self, classes: Classes, suppressed: Bools) -> Score:
        histogram = classes.histogram(self.metric.target)
        n = len(classes)
        most = np.zeros(n, dtype=np.int64)
        np.maximum.at(most, histogram.class_of, histogram.count)
        top = histogram.count == most[histogram.class_of]
        ties = np.bincount(histogram.class_of, weights=top, minlength=n)
        cost: Floats = np.where(ties == 1, classes.size - most, classes.size)
        cost = np.where(suppressed, self.metric.suppressed_cost * classes.size, cost)
        return _score(float(cost.sum()) / self.rows)
