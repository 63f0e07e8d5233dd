"""Models that bound the frequency of each sensitive value in a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .classes import Classes
from .encoding import Problem
from .keys import Bools, Floats, Ints
from .models import Test, require
from .models_sensitive import ComparedModel


@dataclass(frozen=True)
class BasicBetaLikeness(ComparedModel):
    """No value is more than 1 + beta times as frequent as in the whole table."""

    beta: float

    def __post_init__(self) -> None:
        require(self.beta > 0, "beta must be above 0.")

    def bind(self, problem: Problem) -> Test:
        _, whole = self.frequencies(problem)
        return _AtMost(column=self.column, caps=whole * (1 + self.beta))

    def describe(self) -> str:
        return f"basic {self.beta:g}-likeness of {self.column}"


@dataclass(frozen=True)
class EnhancedBetaLikeness(ComparedModel):
    """The gain in frequency is at most min(beta, -ln(frequency in the table))."""

    beta: float

    def __post_init__(self) -> None:
        require(self.beta > 0, "beta must be above 0.")

    def bind(self, problem: Problem) -> Test:
        _, whole = self.frequencies(problem)
        gain = np.minimum(self.beta, -np.log(np.maximum(whole, 1e-300)))
        return _AtMost(column=self.column, caps=whole * (1 + gain))

    def describe(self) -> str:
        return f"enhanced {self.beta:g}-likeness of {self.column}"


@dataclass(frozen=True)
class DeltaDisclosure(ComparedModel):
    """|log2(frequency in the class / in the table)| < delta for each value in a class.

    As in ARX, a value that a class lacks is not held against it.
    """

    delta: float

    def __post_init__(self) -> None:
        require(self.delta > 0, "delta must be above 0.")

    def bind(self, problem: Problem) -> Test:
        return _Disclosure(self, problem)

    def describe(self) -> str:
        return f"{self.delta:g}-disclosure privacy of {self.column}"


class _AtMost(Test):
    """An upper bound on each frequency; classes within it can be joined."""

    mergeable = True

    def __init__(self, *, column: str, caps: Floats) -> None:
        self.column = column
        self.caps = caps

    def failing(self, classes: Classes) -> Bools:
        return self.least(classes, np.ones(len(classes), dtype=bool)) > 0

    def least(self, classes: Classes, failing: Bools) -> Ints:
        """With cap u, s of c rows of a value must go: c - s <= u (n - s)."""
        histogram = classes.histogram(self.column)
        cap = self.caps[histogram.value]
        allowed = cap * classes.size[histogram.class_of]
        over = histogram.count - allowed > 1e-9
        rows = np.ceil(
            np.where(over, histogram.count - allowed, 0) / np.maximum(1 - cap, 1e-12)
            - 1e-6
        )
        needed = np.zeros(len(classes), dtype=np.int64)
        np.maximum.at(
            needed,
            histogram.class_of,
            np.where(over, np.maximum(rows, 1), 0).astype(np.int64),
        )
        return np.where(failing, np.minimum(needed, classes.size), 0)


class _Disclosure(Test):
    """Neither inherited nor mergeable: a class may lack a value, but not have little.

    Only the upper bound on each frequency is convex, so only it prunes.
    """

    def __init__(self, model: DeltaDisclosure, problem: Problem) -> None:
        self.model = model
        _, self.whole = model.frequencies(problem)
        self.upper = _AtMost(column=model.column, caps=self.whole * 2.0**model.delta)

    def failing(self, classes: Classes) -> Bools:
        histogram = classes.histogram(self.model.column)
        part = histogram.count / classes.size[histogram.class_of]
        gain = np.abs(np.log2(part / self.whole[histogram.value]))
        bad = np.bincount(
            histogram.class_of,
            weights=gain >= self.model.delta - 1e-12,
            minlength=len(classes),
        )
        return bad > 0

    def least(self, classes: Classes, failing: Bools) -> Ints:
        return self.upper.least(classes, failing)
