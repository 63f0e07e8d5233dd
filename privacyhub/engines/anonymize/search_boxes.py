"""The search where the lattice is too large to hold: boxes of nodes, best bound first.

A box is all nodes between two corners. Its general corner is checked: if its rows are
suppressed past the limit in every specialisation, the box is closed; what is
suppressed in all of it raises its bound, which is the metric's bound at the specific
corner, where generalization costs least. Then the box is split. The search can stop
at any time: the lowest bound of the boxes left says how far the best may be from the
optimum. When no box is left, the best is the optimum.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from . import lattice
from .checks import Check, Checker, Node
from .keys import Floats
from .lattice import Levels
from .search import Limits, Outcome


@dataclass(order=True)
class _Box:
    """`lower` bounds the score of every node in it, in the domain of keys."""

    lower: float
    depth: int
    low: Levels = field(compare=False)
    high: Levels = field(compare=False)


class Anytime:
    """Best-first branch and bound over boxes of nodes."""

    def __init__(self, *, checker: Checker, limits: Limits) -> None:
        self.checker = checker
        self.limits = limits
        self.heights = checker.problem.heights
        self.parts = checker.scorer.parts()
        self.best: Check | None = None
        self.nodes: dict[Levels, Node] = {}
        self.checks: dict[Levels, Check] = {}
        self.boxes: list[_Box] = []
        self.decided = 0

    def run(self) -> Outcome:
        low = (0,) * len(self.heights)
        self._descend()
        self._push(low=low, high=self.heights, parts=self.parts, lower=-np.inf)
        total = lattice.size(self.heights)
        while self.boxes:
            box = heapq.heappop(self.boxes)
            if self._cut(box.lower):
                self.decided += _size(box.low, box.high)
                continue
            self._expand(box)
            if self.limits.tick(done=min(self.decided, total), total=total):
                break
        return self._outcome()

    def _descend(self) -> None:
        """A first solution: from the top, always to the cheapest that is anonymous."""
        if not self._check(self.heights).anonymous:
            return
        node: Levels | None = self.heights
        while node is not None:
            below = sorted(
                lattice.children(node), key=lambda n: self._at(self.parts, n)
            )
            node = next((n for n in below if self._check(n).anonymous), None)
            if self.limits.tick(done=0, total=lattice.size(self.heights)):
                return

    def _expand(self, box: _Box) -> None:
        check = self._check(box.high)
        if check.hopeless:
            self.decided += _size(box.low, box.high)
            return
        parts = self.parts
        if check.least.any():
            raised = self.checker.scorer.parts_below(
                check.classes, check.least, check.whole
            )
            parts = parts if raised is None else raised
        if box.low == box.high:
            self.decided += 1
            return
        if self._cut(max(box.lower, self._at(parts, box.low))):
            self.decided += _size(box.low, box.high)
            return
        # Split where the two corners are furthest apart.
        spans = [high - low for low, high in zip(box.low, box.high, strict=True)]
        j = int(np.argmax(spans))
        middle = (box.low[j] + box.high[j]) // 2
        lower_half = (*box.high[:j], middle, *box.high[j + 1 :])
        upper_half = (*box.low[:j], middle + 1, *box.low[j + 1 :])
        self._push(low=box.low, high=lower_half, parts=parts, lower=box.lower)
        self._push(low=upper_half, high=box.high, parts=parts, lower=box.lower)

    def _push(
        self, *, low: Levels, high: Levels, parts: list[Floats] | None, lower: float
    ) -> None:
        lower = max(lower, self._at(parts, low))
        heapq.heappush(
            self.boxes, _Box(lower=lower, depth=-sum(high), low=low, high=high)
        )

    def _at(self, parts: list[Floats] | None, levels: Levels) -> float:
        if parts is None:
            return -np.inf
        values = [part[level] for part, level in zip(parts, levels, strict=True)]
        return float(self.checker.scorer.join.reduce(values))

    def _cut(self, lower: float) -> bool:
        if self.best is None or self.best.score is None:
            return False
        return lower >= self.checker.scorer.cut(self.best.score)

    def _check(self, levels: Levels) -> Check:
        known = self.checks.get(levels)
        if known is not None:
            return known
        check = self.checker.check(levels)
        if len(self.checks) < 64:  # a check holds arrays of the table's size
            self.checks[levels] = check
        scorer = self.checker.scorer
        self.nodes[levels] = check.node(
            bound=scorer.shown(self._at(self.parts, levels))
        )
        if check.score is not None and (
            self.best is None
            or self.best.score is None
            or check.score < self.best.score
        ):
            self.best = check
        return check

    def _outcome(self) -> Outcome:
        scorer = self.checker.scorer
        found = None if self.best is None else self.best.score
        left = [box.lower for box in self.boxes if not self._cut(box.lower)]
        lower = scorer.shown(min(left)) if left else np.inf
        if found is not None:
            lower = min(lower, found.value)
        return Outcome(
            best=self.best,
            nodes=tuple(self.nodes.values()),
            proved=not left,
            lower=float(lower),
        )


def _size(low: Levels, high: Levels) -> int:
    return lattice.size([h - x for x, h in zip(low, high, strict=True)])
