"""Profitability: a publisher who weighs benefit against an attacker who does too.

Wan et al., "A Game Theoretic Framework for Analyzing Re-Identification Risk" (2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from .classes import Classes
from .encoding import Problem
from .keys import Bools, Floats
from .models import Model, Test, require
from .models_size import AtLeast, AtLeastRows


@dataclass(frozen=True)
class Profitability(Model):
    """A class is published when the publisher gains from it.

    Benefit and loss are amounts a row: the publisher earns `publisher_benefit` less
    the share of information lost, and loses `publisher_loss` times the attacker's
    success when an attack pays (`adversary_gain` times the success is above
    `adversary_cost`). Success is one over the class's rows (prosecutor), or over its
    people in the `population` (journalist). `no_attack`: classes must be so large that
    no attack pays.
    """

    publisher_benefit: float
    publisher_loss: float
    adversary_gain: float
    adversary_cost: float
    no_attack: bool = False
    population: pl.DataFrame | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        amounts = (self.publisher_benefit, self.publisher_loss, self.adversary_gain)
        require(all(x >= 0 for x in amounts), "Amounts must not be below 0.")
        require(self.adversary_cost > 0, "The adversary's cost must be above 0.")

    def bind(self, problem: Problem) -> Test:
        if self.no_attack:
            if self.population is None:
                return AtLeastRows(self.least_class)
            return AtLeast(self.least_class, in_population=True)
        return _Profitable(self, problem)

    @property
    def least_class(self) -> int:
        """The least class size at which no attack pays: above gain / cost."""
        ratio = self.adversary_gain / self.adversary_cost
        return int(ratio) + 1 if ratio == math.floor(ratio) else math.ceil(ratio)

    def larger_population(self) -> pl.DataFrame | None:
        return self.population

    def describe(self) -> str:
        attacker = "prosecutor" if self.population is None else "journalist"
        kind = "no-attack profitability" if self.no_attack else "profitability"
        return f"{kind} ({attacker})"


class _Profitable(Test):
    """Not monotone: generalizing lowers risk and benefit at once. Prunes nothing."""

    def __init__(self, model: Profitability, problem: Problem) -> None:
        self.model = model
        leaves = math.prod(column.leaves for column in problem.columns)
        self.most = math.log(leaves) if leaves > 1 else 1.0

    def failing(self, classes: Classes) -> Bools:
        model = self.model
        rows = classes.size if model.population is None else classes.population
        success = 1.0 / np.maximum(rows, 1)
        attacked = model.adversary_gain * success > model.adversary_cost
        benefit = model.publisher_benefit * (1 - self.information_loss(classes))
        payout = benefit - np.where(attacked, model.publisher_loss * success, 0)
        return (payout <= 0) & (classes.size > 0)

    def information_loss(self, classes: Classes) -> Floats:
        """log of the cells that a row could lie in, over that of all cells."""
        total = np.zeros(len(classes))
        for j in range(len(classes.levels)):
            total += np.log(classes.shares(j))
        return np.clip(total / self.most + 1, 0, 1)
