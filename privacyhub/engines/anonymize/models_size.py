"""Models that look at the size of a class alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from scipy.special import gammaln, pdtr

from .classes import Classes
from .encoding import Problem
from .keys import Bools, Floats, Ints
from .models import Model, Test, require
from .subsets import Subset, rows_of


@dataclass(frozen=True)
class KAnonymity(Model):
    """Every class has at least k rows (Samarati and Sweeney, 1998)."""

    k: int

    def __post_init__(self) -> None:
        require(isinstance(self.k, int) and self.k >= 1, "k must be at least 1.")

    def bind(self, problem: Problem) -> Test:
        require(
            self.k <= problem.total,
            f"k is {self.k}, but the table has only {problem.total} rows.",
        )
        return AtLeastRows(self.k)

    def describe(self) -> str:
        return f"{self.k}-anonymity"


@dataclass(frozen=True)
class KMap(Model):
    """Every class has at least k rows in the population (Sweeney).

    `population`: the larger table, which holds the anonymized one; or its number of
    people. With a number, k-map is estimated as k'-anonymity: k' is so large that a
    class of k' rows has fewer than k people with at most the probability
    `significance`, for counts that are Poisson or zero-truncated Poisson
    ("truncated_poisson") distributed with the sampling fraction, as in ARX.
    """

    k: int
    population: pl.DataFrame | int = field(repr=False)
    significance: float = 0.01
    estimator: str = "poisson"

    def __post_init__(self) -> None:
        require(isinstance(self.k, int) and self.k >= 1, "k must be at least 1.")
        require(0 < self.significance < 1, "The significance must be between 0 and 1.")
        require(
            self.estimator in ("poisson", "truncated_poisson"),
            "The estimator must be poisson or truncated_poisson.",
        )

    def bind(self, problem: Problem) -> Test:
        if isinstance(self.population, pl.DataFrame):
            return AtLeast(self.k, in_population=True)
        require(
            self.population >= problem.total,
            "The population must be at least as large as the table.",
        )
        return AtLeastRows(self.derived_k(problem.total))

    def derived_k(self, rows: int) -> int:
        """The k' that a table of so many rows needs."""
        assert isinstance(self.population, int)  # noqa: S101 - the caller looked
        mean = self.k * rows / self.population
        threshold = 1 - self.significance
        most = min(self.k, rows)
        if self.estimator == "poisson":
            count = 0
            while count < most and pdtr(count, mean) < threshold:
                count += 1
            return min(most, count + 2)
        count, reached = 1, 0.0
        while count < most and reached < threshold:
            probability = np.exp(count * np.log(mean) - mean - gammaln(count + 1))
            reached += probability / -np.expm1(-mean)
            count += 1
        return min(most, count)

    def larger_population(self) -> pl.DataFrame | None:
        if isinstance(self.population, pl.DataFrame):
            return self.population
        return None

    def describe(self) -> str:
        return f"{self.k}-map"


@dataclass(frozen=True)
class Inclusion(Model):
    """Only a subset of the rows is anonymized; the others are left out.

    `subset`: a truth value for each row, row numbers from 0, or a table with the rows.
    """

    subset: Subset = field(repr=False)

    def bind(self, problem: Problem) -> Test:
        return AtLeast(1)

    def research_subset(self, frame: pl.DataFrame) -> Bools | None:
        return rows_of(self.subset, frame=frame)

    def describe(self) -> str:
        return "a subset of the rows"


@dataclass(frozen=True)
class DeltaPresence(Model):
    """The share of a class's rows that is in the subset is from `lower` to `upper`.

    Then nobody can be told to be in the released subset, or not to be, with more
    certainty (Nergiz, Atzori and Clifton, 2007). `subset` as for Inclusion.
    """

    lower: float
    upper: float
    subset: Subset = field(repr=False)

    def __post_init__(self) -> None:
        require(
            0 <= self.lower <= self.upper <= 1,
            "The bounds of presence must satisfy 0 <= lower <= upper <= 1.",
        )

    def bind(self, problem: Problem) -> Test:
        return _Presence(self)

    def research_subset(self, frame: pl.DataFrame) -> Bools | None:
        return rows_of(self.subset, frame=frame)

    @property
    def bears_aggregates(self) -> bool:
        return False

    def describe(self) -> str:
        return f"({self.lower:g}, {self.upper:g})-presence"


class AtLeast(Test):
    """So many rows in a class, of the table or of the population."""

    inherits = True
    mergeable = True

    def __init__(self, k: int, *, in_population: bool = False) -> None:
        self.fewest = k
        self.in_population = in_population

    def failing(self, classes: Classes) -> Bools:
        return self.too_small(classes.size, population=classes.population)

    def too_small(self, size: Ints | Floats, *, population: Ints | Floats) -> Bools:
        rows = population if self.in_population else size
        return (rows < self.fewest) & (size > 0)


class AtLeastRows(AtLeast):
    """A minimal size in rows: an empty class is below it, and is asked no further."""

    takes_empty = True


class _Presence(Test):
    mergeable = True  # the mediant of two ratios lies between them

    def __init__(self, model: DeltaPresence) -> None:
        self.model = model

    def failing(self, classes: Classes) -> Bools:
        share = classes.size / classes.population
        return (share < self.model.lower) | (share > self.model.upper)

    def least(self, classes: Classes, failing: Bools) -> Ints:
        """With upper bound u, s of n rows must go: n - s <= u (population - s).

        A class below the lower bound may part into one that holds and others of which
        nobody is anonymized: no row of it need go.
        """
        u = self.model.upper
        over = classes.size - u * classes.population
        rows = np.ceil(over / max(1 - u, 1e-12) - 1e-6).astype(np.int64)
        rows = np.clip(rows, 1, classes.size)
        return np.where(failing & (over > 0), rows, 0)

    def hopeless(self, classes: Classes) -> bool:
        """A class with nobody in the subset has presence 0 and no row to suppress."""
        return self.model.lower > 0 and bool((classes.size == 0).any())
