"""Entropy l-diversity by Grassberger's estimate, as ARX decides it.

The estimate of a class of N rows with counts n is G(N) - sum(n G(n)) / N nats, where
G(2m) = G(2m + 1) = psi(m + 1/2) + ln 2 and G(1) = -gamma - ln 2: "Entropy Estimates
from Insufficient Samplings" (2003), equation 30.

ARX adds up n G(n) and gives a class up as soon as the sum passes what the whole of it
may be. Since G(1) is below zero, and no other, a value that occurs once can bring the
sum down again: such a class fails though its estimate is high enough, if the values
that occur more often come first. The order is that of `value_order`. No class holds
whose estimate is too low.
"""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
from scipy.special import digamma

from .classes import Classes
from .encoding import Problem
from .keys import Bools, Floats
from .models import Test
from .value_order import ValueOrder


class Grassberger(Test):
    """Nothing is known of parts or unions of classes that hold, so nothing is pruned.

    An empty class fails here first, since l values take l rows.
    """

    takes_empty = True

    def __init__(self, problem: Problem, *, column: str, l: float) -> None:  # noqa: E741
        self._column = column
        self._least = math.log(l) - 1e-12
        self._values = int(l)
        self._order = ValueOrder(problem, column)

    def failing(self, classes: Classes) -> Bools:
        histogram = classes.histogram(self._column)
        total = np.maximum(classes.size, 1)
        g = _g(int(total.max(initial=1)))
        most = total * (g[total] - self._least)
        terms = histogram.count * g[histogram.count]
        failing: Bools = histogram.sums(terms) > most
        failing |= histogram.distinct() < self._values
        # The sum can pass the bound only where it does with all that raises it first.
        unsure = ~failing & (histogram.sums(np.maximum(terms, 0)) > most)
        if unsure.any():
            for number, counts in self._order.counts(classes, unsure).items():
                sums = accumulate(count * g[count] for count in counts)
                failing[number] = max(sums) > most[number]
        return failing


def _g(largest: int) -> Floats:
    """G(n) for each n from 0, of no meaning there, to the largest."""
    half = np.arange(largest + 1) // 2
    g: Floats = digamma(half + 0.5) + math.log(2)
    return g
