"""Models that look at the values of a sensitive column within a class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from .classes import Classes, Histogram
from .encoding import Bools, Floats, Ints, Problem, count_by
from .models import Model, Test, require


@dataclass(frozen=True)
class SensitiveModel(Model):
    """A model with one sensitive column."""

    column: str

    @property
    def sensitive(self) -> tuple[str, ...]:
        return (self.column,)


@dataclass(frozen=True)
class DistinctLDiversity(SensitiveModel):
    """Every class holds at least l distinct sensitive values."""

    l: int  # noqa: E741 - the model's own name for it

    def __post_init__(self) -> None:
        require(isinstance(self.l, int) and self.l >= 1, "l must be at least 1.")

    def bind(self, problem: Problem) -> Test:
        values = len(problem.sensitive[self.column].labels)
        require(
            self.l <= values,
            f"l is {self.l}, but column {self.column} has only {values} values.",
        )
        return _Distinct(self)

    def describe(self) -> str:
        return f"distinct {self.l}-diversity of {self.column}"


@dataclass(frozen=True)
class EntropyLDiversity(SensitiveModel):
    """The entropy of the sensitive values in every class is at least log(l).

    `estimator`: "shannon" for the plain entropy of the counts, "grassberger" for
    Grassberger's estimator (2003), which corrects for small classes.
    """

    l: float  # noqa: E741
    estimator: str = "shannon"

    def __post_init__(self) -> None:
        require(self.l >= 1, "l must be at least 1.")
        require(
            self.estimator in ("shannon", "grassberger"),
            "The entropy estimator must be shannon or grassberger.",
        )

    def bind(self, problem: Problem) -> Test:
        return _Entropy(self)

    def describe(self) -> str:
        return f"entropy {self.l:g}-diversity of {self.column} ({self.estimator})"


@dataclass(frozen=True)
class EqualTCloseness(SensitiveModel):
    """The total variation distance to the whole table is at most t in every class."""

    t: float

    def __post_init__(self) -> None:
        require(0 <= self.t <= 1, "t must be from 0 to 1.")

    def bind(self, problem: Problem) -> Test:
        return _EqualDistance(self, problem)

    def describe(self) -> str:
        return f"{self.t:g}-closeness of {self.column} (equal distance)"


class _Distinct(Test):
    inherits = True  # a part holds no value that the whole does not
    mergeable = True

    def __init__(self, model: DistinctLDiversity) -> None:
        self.model = model

    def failing(self, classes: Classes) -> Bools:
        histogram = classes.histogram(self.model.column)
        return np.bincount(histogram.class_of, minlength=len(classes)) < self.model.l


class _Entropy(Test):
    def __init__(self, model: EntropyLDiversity) -> None:
        self.model = model
        # Shannon's entropy is concave, so a union of classes that hold, holds.
        # Nothing of the kind is known of Grassberger's estimate.
        self.mergeable = model.estimator == "shannon"

    def failing(self, classes: Classes) -> Bools:
        histogram = classes.histogram(self.model.column)
        if self.model.estimator == "shannon":
            entropy = shannon(histogram, size=classes.size)
        else:
            entropy = grassberger(histogram, size=classes.size)
        return entropy < math.log(self.model.l) - 1e-12


def by_class(values: Floats, histogram: Histogram, *, size: Ints) -> Floats:
    """Sums of a quantity of (class, value) pairs by class."""
    return np.bincount(histogram.class_of, weights=values, minlength=len(size))


def shannon(histogram: Histogram, *, size: Ints) -> Floats:
    """Entropy in nats of each class; 0 for a class without rows."""
    count = histogram.count.astype(float)
    total = np.maximum(size, 1).astype(float)
    return np.log(total) - by_class(count * np.log(count), histogram, size=size) / total


def grassberger(histogram: Histogram, *, size: Ints) -> Floats:
    """Grassberger's estimate in nats: log N - sum(n G(n)) / N.

    G(n) = psi(n) + (-1)^n / 2 (psi((n + 1) / 2) - psi(n / 2)), "Entropy Estimates
    from Insufficient Samplings" (2003), equation 29 for integers.
    """
    largest = int(histogram.count.max(initial=1))
    n = np.arange(1, largest + 1, dtype=float)
    sign = np.where(n % 2 == 0, 1.0, -1.0)
    g = digamma(n) + sign / 2 * (digamma((n + 1) / 2) - digamma(n / 2))
    total = np.maximum(size, 1).astype(float)
    weighted = histogram.count * g[histogram.count - 1]
    return np.log(total) - by_class(weighted, histogram, size=size) / total


class ClosenessTest(Test):
    """Distances of the classes' distributions to that of the whole table.

    The distance is convex and at most 1, so if the kept part of a class is within t,
    the suppressed part is at least (distance - t) / (1 - t) of it.
    """

    mergeable = True

    def __init__(self, *, column: str, t: float, problem: Problem) -> None:
        self.column = column
        self.t = t
        sensitive = problem.sensitive[column]
        counts = count_by(
            sensitive.codes, weights=problem.weights, size=len(sensitive.labels)
        )
        self.whole = counts / max(counts.sum(), 1)

    def distance(self, classes: Classes) -> Floats:
        """The distance of each class, shape (classes,), from 0 to 1."""
        raise NotImplementedError

    def failing(self, classes: Classes) -> Bools:
        return self.distance(classes) > self.t + 1e-12

    def least(self, classes: Classes, failing: Bools) -> Ints:
        if self.t >= 1:
            return np.zeros(len(classes), dtype=np.int64)
        part = (self.distance(classes) - self.t) / (1 - self.t)
        rows = np.ceil(part * classes.size - 1e-6).astype(np.int64)
        return np.where(failing, np.maximum(rows, 1), 0)


class _EqualDistance(ClosenessTest):
    def __init__(self, model: EqualTCloseness, problem: Problem) -> None:
        super().__init__(column=model.column, t=model.t, problem=problem)

    def distance(self, classes: Classes) -> Floats:
        histogram = classes.histogram(self.column)
        size = np.maximum(classes.size, 1)
        part = histogram.count / size[histogram.class_of]
        excess = np.maximum(part - self.whole[histogram.value], 0)
        return by_class(excess, histogram, size=classes.size)
