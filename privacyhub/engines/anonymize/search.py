"""The search for the transformation of least cost, and the proof that it is.

The whole lattice is in memory: a lower bound and an "open" flag a node.

1. The metric's separable bound gives every node a lower bound at once.
2. A greedy descent from the most general node gives a first solution.
3. Then, until no open node is left: check the most general open node.
   * Levels of a few columns that rule it out close all nodes with these or below,
     and it need not be checked; see `conflicts`.
   * Rows that are suppressed in all its specialisations past the limit: close these.
   * Otherwise they raise the lower bound of all its specialisations.
   * A better score closes every node whose lower bound reaches it.

A node is only ever closed by a bound that holds for each of the models (see
`models`), whatever the suppression limit, so an empty open set proves the optimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import lattice
from .checks import Check, Checker, Node
from .conflicts import Conflicts
from .errors import AnonymizeCancelled
from .keys import Bools, Floats
from .lattice import Levels
from .metrics import Score

# The whole lattice is gone through where a part is larger than one in so many nodes.
WHOLE_FROM = 8


@dataclass
class Limits:
    """When to report and when to stop."""

    progress: Callable[[int, int], None] | None = None
    cancelled: Callable[[], bool] | None = None
    time_limit: float | None = None
    started: float = field(default_factory=time.monotonic)

    def tick(self, *, done: int, total: int) -> bool:
        """Report; true when the time is up. Raises AnonymizeCancelled."""
        if self.progress is not None:
            self.progress(done, total)
        if self.cancelled is not None and self.cancelled():
            raise AnonymizeCancelled("The search was cancelled.")
        return (
            self.time_limit is not None
            and time.monotonic() - self.started >= self.time_limit
        )


@dataclass(frozen=True)
class Outcome:
    """What a search found. `lower`: no node of the lattice scores below this."""

    best: Check | None
    nodes: tuple[Node, ...]
    proved: bool
    lower: float


class Exhaustive:
    """Branch and bound with an array over the lattice; for some 10^6 nodes."""

    def __init__(self, *, checker: Checker, limits: Limits) -> None:
        self.checker = checker
        self.limits = limits
        self.conflicts = Conflicts(
            problem=checker.problem, tests=checker.tests, limit=checker.limit
        )
        heights = checker.problem.heights
        self.heights = heights
        self.shape = lattice.shape(heights)
        scorer = checker.scorer
        parts = scorer.parts()
        self.lower: Floats = (
            np.full(self.shape, -np.inf)
            if parts is None
            else lattice.outer(parts, join=scorer.join)
        )
        self.lower = self.lower.reshape(self.shape)
        self.open: Bools = np.ones(self.shape, dtype=bool)
        generality = lattice.generality(heights).ravel()
        order = np.argsort(-generality, kind="stable")
        starts = np.flatnonzero(np.diff(generality[order], prepend=-1))
        # Nodes of one sum of levels each, the most general first.
        self.layers = np.split(order, starts[1:])
        self.layer = 0
        self.in_layer: Iterator[int] = iter(())
        self.best: Check | None = None
        self.nodes: list[Node] = []

    def run(self) -> Outcome:
        """Search until nothing is open or the time is up."""
        # Where no failure says anything of other nodes, only the bound on the score
        # does: then the node of the lowest bound comes first.
        by_bound = not self.checker.prunes and np.isfinite(self.lower).all()
        stopped = False if by_bound else self._descend()
        while not stopped:
            levels = self._lowest_bound() if by_bound else self._most_general()
            if levels is None:
                break
            if not self._ruled_out(levels):
                self._visit(levels)
            stopped = self._tick()
        self._settle()
        return self._outcome()

    def _settle(self) -> None:
        """Of nodes that cost the same, the less general one, level by level."""
        node = self.best
        while node is not None:
            self.best, node = node, self._cheap_child(node)

    def _cheap_child(self, best: Check) -> Check | None:
        assert best.score is not None  # noqa: S101 - only such are kept
        key = np.array(best.score.key)
        most = key + 1e-13 * np.abs(key)
        for child in lattice.children(best.levels):
            if self.lower[child] <= most[0]:
                check = self.checker.check(child)
                self._keep(check)
                if check.score is not None and (check.score.key <= most).all():
                    return check
        return None

    def _keep(self, check: Check) -> None:
        """A node among those that were checked, once."""
        if all(node.levels != check.levels for node in self.nodes):
            bound = self.checker.scorer.shown(float(self.lower[check.levels]))
            self.nodes.append(check.node(bound=bound))

    def _tick(self) -> bool:
        total = self.open.size
        done = total - int(np.count_nonzero(self.open))
        return self.limits.tick(done=done, total=total)

    def _descend(self) -> bool:
        """From the top, always to the cheapest specialisation that is anonymous."""
        node: Levels | None = self.heights
        check = self._visit(self.heights)
        if not check.anonymous:
            return self._tick()
        while node is not None:
            below = sorted(lattice.children(node), key=lambda n: self.lower[n])
            node = None
            for child in below:
                if not self.open[child] or self._ruled_out(child):
                    continue
                if self._visit(child).anonymous:
                    node = child
                    break
            if self._tick():
                return True
        return False

    def _most_general(self) -> Levels | None:
        """The open node with the highest sum of levels, then the lowest bound.

        A check moves no bound in its own layer and opens nothing again, so that each
        layer is sorted once, when the search comes to it.
        """
        is_open = self.open.ravel()
        while True:
            for node in self.in_layer:
                if is_open[node]:
                    return tuple(int(i) for i in np.unravel_index(node, self.shape))
            if self.layer == len(self.layers):
                return None
            nodes = self.layers[self.layer]
            at = nodes[is_open[nodes]]
            order = np.argsort(self.lower.ravel()[at], kind="stable")
            self.in_layer = iter(at[order].tolist())
            self.layer += 1

    def _lowest_bound(self) -> Levels | None:
        at = np.flatnonzero(self.open)
        if not len(at):
            return None
        chosen = at[np.argmin(self.lower.ravel()[at])]
        return tuple(int(i) for i in np.unravel_index(chosen, self.shape))

    def _ruled_out(self, levels: Levels) -> bool:
        closed = self.conflicts.closes(levels)
        if closed is not None:
            self.open[closed] = False
        return closed is not None

    def _visit(self, levels: Levels) -> Check:
        check = self.checker.check(levels)
        scorer = self.checker.scorer
        self.open[levels] = False
        self.nodes.append(check.node(bound=scorer.shown(float(self.lower[levels]))))
        below = lattice.below(levels)
        if check.hopeless:
            self.open[below] = False
        elif check.least.any():
            parts = scorer.parts_below(check.classes, check.least, check.whole)
            if parts is not None:
                raised = lattice.outer(parts, join=scorer.join)
                view = self.lower[below]
                np.maximum(view, raised.reshape(view.shape), out=view)
                self._close(below)
        least_above = scorer.lower_above(check.classes)
        if least_above is not None:
            above = lattice.above(levels)
            np.maximum(self.lower[above], least_above, out=self.lower[above])
            self._close(above)
        if check.score is not None and self._better(check.score):
            self.best = check
            self._close((...,))
        return check

    def _better(self, score: Score) -> bool:
        return self.best is None or self.best.score is None or score < self.best.score

    def _close(self, nodes: tuple[Any, ...]) -> None:
        """Close the nodes of a part of the lattice that cannot be better.

        Or of all of it, which is faster than a large part that is not in one piece.
        """
        if self.best is not None and self.best.score is not None:
            if WHOLE_FROM * self.open[nodes].size > self.open.size:
                nodes = (...,)
            cut = self.checker.scorer.cut(self.best.score)
            self.open[nodes] &= self.lower[nodes] < cut

    def _outcome(self) -> Outcome:
        scorer = self.checker.scorer
        left = self.lower[self.open]
        found = None if self.best is None else self.best.score
        if not len(left):
            lower = np.inf if found is None else found.value
        else:
            lower = scorer.shown(float(left.min()))
            lower = lower if found is None else min(lower, found.value)
        return Outcome(
            best=self.best,
            nodes=tuple(self.nodes),
            proved=not len(left),
            lower=float(lower),
        )


def fixed_node(checker: Checker, *, levels: Levels) -> Outcome:
    """No search: the data may not choose the node."""
    check = checker.check(levels)
    found = check.score
    node = check.node(bound=-np.inf if found is None else found.value)
    return Outcome(
        best=check if check.anonymous else None,
        nodes=(node,),
        proved=True,
        lower=np.inf if found is None else found.value,
    )
