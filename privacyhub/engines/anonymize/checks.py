"""Checking one node: its classes, what is suppressed, its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .classes import Classes
from .encoding import Bools, Ints, Problem
from .lattice import Levels
from .metrics import Score, Scorer
from .models import Test


@dataclass(frozen=True)
class Node:
    """A node of the solution space.

    `score` is the metric's figure where the node is anonymous, else None; `bound` is a
    figure below which no score of this node can lie.
    """

    levels: Levels
    anonymous: bool
    suppressed: int
    score: float | None
    bound: float


@dataclass(frozen=True)
class Check:
    """A checked node with what the search needs of it.

    `least[c]` rows of class c are suppressed in every specialisation; `whole[c]` says
    that these are all its rows. `suppressed` marks the classes that fail.
    """

    classes: Classes
    suppressed: Bools
    rows: int
    anonymous: bool
    least: Ints
    whole: Bools
    score: Score | None

    @property
    def levels(self) -> Levels:
        return self.classes.levels

    @property
    def surely(self) -> int:
        """Rows that are suppressed in every specialisation."""
        return int(self.least.sum())


@dataclass(frozen=True)
class Checker:
    """Everything that a check of a node depends on."""

    problem: Problem
    tests: Sequence[Test]
    scorer: Scorer
    limit: int

    def check(self, levels: Levels) -> Check:
        classes = Classes(problem=self.problem, levels=levels)
        suppressed = np.zeros(len(classes), dtype=bool)
        least = np.zeros(len(classes), dtype=np.int64)
        for test in self.tests:
            failing = test.failing(classes)
            suppressed |= failing
            least = np.maximum(least, test.least(classes, failing))
        rows = int(classes.size[suppressed].sum())
        anonymous = rows <= self.limit
        score = self.scorer.score(classes, suppressed) if anonymous else None
        return Check(
            classes=classes,
            suppressed=suppressed,
            rows=rows,
            anonymous=anonymous,
            least=least,
            whole=least >= classes.size,
            score=score,
        )
