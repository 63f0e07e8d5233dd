"""Models that look at the size of a class alone."""

from __future__ import annotations

from dataclasses import dataclass

from .classes import Classes
from .encoding import Bools, Problem
from .models import Model, Test, require


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
        return _AtLeast(self.k)

    def describe(self) -> str:
        return f"{self.k}-anonymity"


class _AtLeast(Test):
    inherits = True
    mergeable = True

    def __init__(self, k: int) -> None:
        self.k = k

    def failing(self, classes: Classes) -> Bools:
        return (classes.size < self.k) & (classes.size > 0)
