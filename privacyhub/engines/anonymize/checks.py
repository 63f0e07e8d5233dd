"""Checking one node: its classes, what is suppressed, its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .classes import Classes
from .encoding import Problem
from .keys import Bools, Ints
from .lattice import Levels
from .metrics import Score, Scorer
from .models import TableTest, Test


@dataclass(frozen=True)
class Node:
    """A node of the solution space.

    `score` is the metric's figure where the node is anonymous, else None; `bound` is a
    figure below which no score of this node can lie. Of the rows that it would show:
    `smallest` is the size of the smallest class (0: it shows none), `average_risk` the
    classes over the rows.
    """

    levels: Levels
    anonymous: bool
    suppressed: int
    score: float | None
    bound: float
    smallest: int
    average_risk: float


@dataclass(frozen=True)
class Check:
    """A checked node with what the search needs of it.

    `least[c]` rows of class c are suppressed in every specialisation; `whole[c]` says
    that these are all its rows. `surely`: rows that are suppressed in every
    specialisation, at least. `suppressed` marks the classes that fail. `hopeless`: no
    specialisation can be anonymous.
    """

    classes: Classes
    suppressed: Bools
    rows: int
    anonymous: bool
    least: Ints
    whole: Bools
    surely: int
    hopeless: bool
    score: Score | None

    @property
    def levels(self) -> Levels:
        return self.classes.levels

    def node(self, *, bound: float) -> Node:
        """What is kept of the check. `bound`: see `Node`."""
        sizes = self.classes.size[~self.suppressed]
        if self.classes.problem.separate:
            sizes = sizes[sizes > 0]
        shown = len(sizes) > 0
        return Node(
            levels=self.levels,
            anonymous=self.anonymous,
            suppressed=self.rows,
            score=None if self.score is None else self.score.value,
            bound=bound,
            smallest=int(sizes.min()) if shown else 0,
            average_risk=len(sizes) / int(sizes.sum()) if shown else 0.0,
        )


@dataclass(frozen=True)
class Checker:
    """Everything that a check of a node depends on. `limit`: rows, at most."""

    problem: Problem
    tests: Sequence[Test]
    table_tests: Sequence[TableTest]
    scorer: Scorer
    limit: int

    @property
    def prunes(self) -> bool:
        """Whether a check can close nodes below it, whatever its score."""
        return any(test.inherits or test.mergeable for test in self.tests) or any(
            test.inherits for test in self.table_tests
        )

    def check(self, levels: Levels) -> Check:
        classes = Classes(problem=self.problem, levels=levels)
        suppressed = np.zeros(len(classes), dtype=bool)
        least = np.zeros(len(classes), dtype=np.int64)
        hopeless = False
        for test in self.tests:
            failing = test.failing(classes)
            suppressed |= failing
            least = np.maximum(least, test.least(classes, failing))
            hopeless |= test.hopeless(classes)
        # ARX's order of tests: an empty class that a minimal size has taken does not
        # come before delta-presence.
        hopeless &= not any(test.takes_empty for test in self.tests)
        surely = int(least.sum())
        if self.table_tests:
            surely = max(surely, *(t.least_rows(classes) for t in self.table_tests))
            if surely <= self.limit:
                suppressed = self._enforced(classes, suppressed)
        rows = int(classes.size[suppressed].sum())
        if surely > self.limit:
            hopeless, rows = True, max(rows, surely)
        anonymous = rows <= self.limit and not hopeless
        return Check(
            classes=classes,
            suppressed=suppressed,
            rows=rows,
            anonymous=anonymous,
            least=least,
            whole=(least >= classes.size) & (least > 0),
            surely=surely,
            hopeless=hopeless,
            score=self.scorer.score(classes, suppressed) if anonymous else None,
        )

    def _enforced(self, classes: Classes, suppressed: Bools) -> Bools:
        """Suppressed so that the table holds, by each model of it.

        What one model suppresses may break another that held before: then once more.
        """
        order = self.scorer.class_order(classes)
        while True:
            before = suppressed
            for test in self.table_tests:
                suppressed = test.enforce(
                    classes, suppressed, order=order, limit=self.limit
                )
            if len(self.table_tests) == 1 or np.array_equal(before, suppressed):
                return suppressed
