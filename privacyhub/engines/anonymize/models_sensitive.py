"""Models that look at the values of a sensitive column within a class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import polars as pl

from .classes import Classes, Histogram
from .encoding import Problem
from .hierarchies import as_text
from .keys import Bools, Floats, Ints, count_by
from .models import Model, Test, require
from .models_grassberger import Grassberger


@dataclass(frozen=True)
class SensitiveModel(Model):
    """A model with one sensitive column."""

    column: str

    @property
    def sensitive(self) -> tuple[str, ...]:
        return (self.column,)


@dataclass(frozen=True)
class ComparedModel(SensitiveModel):
    """A model that compares a class with the distribution in the whole table.

    `whole`: how often each value occurs there, where the rows are a part of it.
    """

    whole: Mapping[str, int] | None = field(default=None, repr=False, kw_only=True)

    def in_parts_of(self, frame: pl.DataFrame) -> Self:
        """The model for parts of a table, which compares with all of it."""
        texts = as_text(frame[self.column]).rename("value")  # it may be called "rows"
        counts = texts.value_counts(name="rows")
        return replace(self, whole=dict(counts.iter_rows()))

    def frequencies(self, problem: Problem) -> tuple[tuple[str, ...], Floats]:
        """The values, those of the rows first, and the frequency of each in the whole.

        Shapes: (values,) both.
        """
        own = problem.sensitive[self.column]
        if self.whole is None:
            labels = own.labels
            counts = count_by(own.codes, weights=problem.weights, size=len(labels))
        else:
            others = sorted(set(self.whole) - set(own.labels))
            labels = (*own.labels, *others)
            counts = np.array([self.whole.get(label, 0) for label in labels])
        return labels, counts / max(counts.sum(), 1)


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

    Every class holds at least l distinct values, besides, whatever is estimated.

    `estimator`: "shannon" for the plain entropy of the counts, "grassberger" for
    Grassberger's estimator (2003), which corrects for small classes; see `Grassberger`
    for what ARX asks of it besides.
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
        if self.estimator == "grassberger":
            return Grassberger(problem, column=self.column, l=self.l)
        return _Entropy(self)

    def describe(self) -> str:
        return f"entropy {self.l:g}-diversity of {self.column} ({self.estimator})"


@dataclass(frozen=True)
class RecursiveCLDiversity(SensitiveModel):
    """With counts r1 >= r2 >= ... in a class: r1 < c (rl + ... + rm)."""

    c: float
    l: int  # noqa: E741

    def __post_init__(self) -> None:
        require(self.c > 0, "c must be above 0.")
        require(isinstance(self.l, int) and self.l >= 1, "l must be at least 1.")

    def bind(self, problem: Problem) -> Test:
        return _Recursive(self)

    def describe(self) -> str:
        return f"recursive ({self.c:g}, {self.l})-diversity of {self.column}"


class _Diverse(Test):
    """l values take l rows, so that an empty class fails here first, as in ARX."""

    takes_empty = True


class _Distinct(_Diverse):
    inherits = True  # a part holds no value that the whole does not
    mergeable = True

    def __init__(self, model: DistinctLDiversity) -> None:
        self.model = model

    def failing(self, classes: Classes) -> Bools:
        return classes.histogram(self.model.column).distinct() < self.model.l


class _Entropy(_Diverse):
    mergeable = True  # entropy is concave

    def __init__(self, model: EntropyLDiversity) -> None:
        self.model = model

    def failing(self, classes: Classes) -> Bools:
        histogram = classes.histogram(self.model.column)
        entropy = shannon(histogram, size=classes.size)
        low: Bools = entropy < math.log(self.model.l) - 1e-12
        return low | (histogram.distinct() < int(self.model.l))


class _Recursive(_Diverse):
    mergeable = True  # Machanavajjhala et al. (2007), their theorem on monotonicity

    def __init__(self, model: RecursiveCLDiversity) -> None:
        self.model = model

    def failing(self, classes: Classes) -> Bools:
        histogram = classes.histogram(self.model.column)
        order = np.lexsort((-histogram.count, histogram.class_of))
        count = histogram.count[order]
        # Position of each value within its class, most frequent first.
        rank = np.arange(len(count)) - histogram.starts[histogram.class_of]
        n = len(classes)
        rare = np.bincount(
            histogram.class_of, weights=count * (rank >= self.model.l - 1), minlength=n
        )
        most = np.bincount(histogram.class_of, weights=count * (rank == 0), minlength=n)
        return most >= self.model.c * rare


def shannon(histogram: Histogram, *, size: Ints) -> Floats:
    """Entropy in nats of each class; 0 for a class without rows."""
    count = histogram.count.astype(float)
    total = np.maximum(size, 1).astype(float)
    return np.log(total) - histogram.sums(count * np.log(count)) / total
