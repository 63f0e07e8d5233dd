"""Models of the table as a whole: average risk and uniqueness."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .encoding import Problem
from .keys import Ints
from .models import Model, TableTest, require
from .uniqueness import DEFAULT_POPULATION, ESTIMATORS, estimate


@dataclass(frozen=True)
class AverageRisk(Model):
    """The average re-identification risk (classes over rows) is at most so much."""

    threshold: float

    def __post_init__(self) -> None:
        require(0 < self.threshold <= 1, "The threshold must be above 0, at most 1.")

    def bind(self, problem: Problem) -> TableTest:
        return _Average(self.threshold)

    def describe(self) -> str:
        return f"average risk of at most {self.threshold:g}"


@dataclass(frozen=True)
class SampleUniqueness(Model):
    """The part of the rows that are alone in their class is at most so much."""

    threshold: float

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "The threshold must be from 0 to 1.")

    def bind(self, problem: Problem) -> TableTest:
        return _Unique(self.threshold)

    def describe(self) -> str:
        return f"sample uniqueness of at most {self.threshold:g}"


@dataclass(frozen=True)
class PopulationUniqueness(Model):
    """The estimated part of the population that is unique is at most so much.

    `population`: its number of people; the default is the United States.
    """

    threshold: float
    estimator: str = "dankar"
    population: int = DEFAULT_POPULATION

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "The threshold must be from 0 to 1.")
        require(
            self.estimator in ESTIMATORS,
            f"The estimator must be one of {', '.join(ESTIMATORS)}.",
        )

    def bind(self, problem: Problem) -> TableTest:
        require(
            self.population >= problem.total,
            "The population must be at least as large as the table.",
        )
        return _PopulationUnique(self)

    def describe(self) -> str:
        return f"population uniqueness of at most {self.threshold:g} ({self.estimator})"


class _Average(TableTest):
    # Merging classes and showing more rows both lower the average.
    inherits = True

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def holds(self, sizes: Ints) -> bool:
        return len(sizes) <= self.threshold * int(sizes.sum()) * (1 + 1e-12)


class _Unique(TableTest):
    inherits = True  # a row that is alone when generalized was alone before

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def holds(self, sizes: Ints) -> bool:
        alone = int((sizes == 1).sum())
        return alone <= self.threshold * int(sizes.sum()) * (1 + 1e-12)


class _PopulationUnique(TableTest):
    """Estimates need not fall when classes merge, so nothing is pruned."""

    def __init__(self, model: PopulationUniqueness) -> None:
        self.model = model

    def holds(self, sizes: Ints) -> bool:
        if not len(sizes):
            return True
        part = estimate(
            sizes, population=self.model.population, estimator=self.model.estimator
        )
        if math.isnan(part) or part == 0:
            # No estimate: only a table without sample uniques is safe.
            return not bool((sizes == 1).any())
        return part <= self.model.threshold
