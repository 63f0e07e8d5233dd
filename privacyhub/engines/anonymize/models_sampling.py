"""(epsilon, delta)-differential privacy by sampling, generalizing and suppressing.

Li, Qardaji and Su (2012), "On sampling, anonymization, and differential privacy":
each row enters with probability beta, is generalized in a way fixed beforehand, and
classes smaller than k are suppressed. Nothing about the data may choose the
generalization, so there is no search.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from scipy.special import bdtrc

from .encoding import Problem
from .keys import Bools
from .models import Model, Test, require
from .models_size import AtLeast

_MOST_TERMS = 500_000  # a fraction of a second


@dataclass(frozen=True)
class EpsilonDeltaDP(Model):
    """Data-independent (epsilon, delta)-DP.

    `generalization`: a level for each quasi-identifier, or one degree from 0 to 1 of
    each hierarchy's height (0.4: ARX's low-medium, 0.5: medium). `sample`: the rows
    that were drawn, for tests; by default they are drawn from the operating system's
    randomness anew in each run, and each run spends epsilon again.
    """

    epsilon: float
    delta: float
    generalization: Mapping[str, int] | float = 0.5
    sample: Sequence[bool] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require(self.epsilon > 0, "epsilon must be above 0.")
        require(0 < self.delta < 1, "delta must be between 0 and 1.")
        if isinstance(self.generalization, float | int):
            require(0 <= self.generalization <= 1, "The degree must be from 0 to 1.")

    @property
    def beta(self) -> float:
        """The probability that a row is drawn: 1 - exp(-epsilon)."""
        return -math.expm1(-self.epsilon)

    @property
    def k(self) -> int:
        """The least class size that reaches delta with this sampling probability."""
        return least_class(epsilon=self.epsilon, delta=self.delta)

    def fixed_levels(self, problem: Problem) -> tuple[int, ...]:
        """The one node that may be used."""
        if isinstance(self.generalization, Mapping):
            levels = [self.generalization.get(c.name, 0) for c in problem.columns]
        else:
            degree = float(self.generalization)
            levels = [int(math.floor(degree * c.height + 0.5)) for c in problem.columns]
        for column, level in zip(problem.columns, levels, strict=True):
            require(
                0 <= level <= column.height,
                f"Column {column.name}: the level must be from 0 to {column.height}.",
            )
        return tuple(levels)

    def research_subset(self, frame: pl.DataFrame) -> Bools | None:
        if self.sample is not None:
            return np.asarray(self.sample, dtype=bool)
        draw = random.SystemRandom()
        return np.array([draw.random() < self.beta for _ in range(frame.height)])

    @property
    def bears_aggregates(self) -> bool:
        return False

    def bind(self, problem: Problem) -> Test:
        return AtLeast(self.k)

    def describe(self) -> str:
        return f"({self.epsilon:g}, {self.delta:g})-differential privacy by sampling"


def least_class(*, epsilon: float, delta: float) -> int:
    """The least k with delta(k) <= delta, of Theorem 1 there.

    delta(k) is the largest P(Bin(n, beta) > gamma n) for n >= k / gamma - 1. For all
    larger n it is at most exp(-n (gamma ln(gamma / beta) - gamma + beta)), which falls
    in n, so the maximum is found once that is below it.
    """
    beta = -math.expm1(-epsilon)
    gamma = (math.expm1(epsilon) + beta) / math.exp(epsilon)
    rate = gamma * math.log(gamma / beta) - (gamma - beta)

    def reached(k: int) -> float:
        first = max(math.ceil(k / gamma - 1), 1)
        most, step = -1.0, 256
        while True:
            n = np.arange(first, first + step)
            most = max(most, float(bdtrc(np.floor(n * gamma), n, beta).max()))
            if math.exp(-rate * (first + step - 1)) <= most:
                return most
            require(
                first + step < _MOST_TERMS,
                "Epsilon is too large for this model: choose a smaller one.",
            )
            first, step = first + step, step * 2

    low, high = 1, 2
    while reached(high) > delta:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if reached(middle) > delta:
            low = middle + 1
        else:
            high = middle
    return low
