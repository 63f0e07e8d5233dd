"""t-closeness: how far the sensitive values of a class are from the whole table's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .classes import Classes
from .encoding import Problem
from .hierarchies import Hierarchy
from .keys import Bools, Floats, Ints
from .models import Test, require
from .models_sensitive import ComparedModel

_NO_VALUE = frozenset({"", "*"})  # of a cell that is missing or suppressed

# Cells of a table of classes and values that is held at once.
DENSE_TABLE = 2_000_000


@dataclass(frozen=True)
class TCloseness(ComparedModel):
    """The distance to the whole table is at most t in every class."""

    t: float

    def __post_init__(self) -> None:
        require(0 <= self.t <= 1, "t must be from 0 to 1.")


@dataclass(frozen=True)
class EqualTCloseness(TCloseness):
    """Every two values are at distance 1: the total variation distance."""

    def bind(self, problem: Problem) -> Test:
        return _Equal(self, problem)

    def describe(self) -> str:
        return f"{self.t:g}-closeness of {self.column} (equal distance)"


@dataclass(frozen=True)
class OrderedTCloseness(TCloseness):
    """Values lie on a line: the earth mover's distance over their ranks.

    `order`: all values, lowest first; else numbers by size, text by alphabet. Missing
    and suppressed cells come last where the order does not name them.
    """

    order: Sequence[str] | None = None

    def bind(self, problem: Problem) -> Test:
        return _Ordered(self, problem)

    def describe(self) -> str:
        return f"{self.t:g}-closeness of {self.column} (ordered distance)"


@dataclass(frozen=True)
class HierarchicalTCloseness(TCloseness):
    """Values are as far apart as their lowest common ancestor is high."""

    hierarchy: Hierarchy

    def bind(self, problem: Problem) -> Test:
        return _Hierarchical(self, problem)

    def describe(self) -> str:
        return f"{self.t:g}-closeness of {self.column} (hierarchical distance)"


class ClosenessTest(Test):
    """Distances of the classes' distributions to that of the whole table.

    The distance is convex and at most 1, so if the kept part of a class is within t,
    the suppressed part is at least (distance - t) / (1 - t) of it.
    """

    mergeable = True

    def __init__(self, model: TCloseness, problem: Problem) -> None:
        self.column = model.column
        self.t = model.t
        self._last: tuple[Classes, Floats] | None = None
        self.labels, self.whole = model.frequencies(problem)

    def _distance_once(self, classes: Classes) -> Floats:
        """`distance`, kept for the last classes: both questions ask for it."""
        if self._last is None or self._last[0] is not classes:
            self._last = (classes, self.distance(classes))
        return self._last[1]

    @abstractmethod
    def distance(self, classes: Classes) -> Floats:
        """The distance of each class, shape (classes,), from 0 to 1."""

    def failing(self, classes: Classes) -> Bools:
        return self._distance_once(classes) > self.t + 1e-12

    def least(self, classes: Classes, failing: Bools) -> Ints:
        if self.t >= 1:
            return np.zeros(len(classes), dtype=np.int64)
        part = (self._distance_once(classes) - self.t) / (1 - self.t)
        rows = np.ceil(part * classes.size - 1e-6).astype(np.int64)
        return np.where(failing, np.maximum(rows, 1), 0)


class _Equal(ClosenessTest):
    def distance(self, classes: Classes) -> Floats:
        histogram = classes.histogram(self.column)
        size = np.maximum(classes.size, 1)
        part = histogram.count / size[histogram.class_of]
        excess = np.maximum(part - self.whole[histogram.value], 0)
        return histogram.sums(excess)


class _DenseClosenessTest(ClosenessTest):
    """Distances that need the whole distribution, computed in slices of classes."""

    @abstractmethod
    def difference(self, extra: Floats) -> Floats:
        """The distance of distributions less the whole's, shape (classes, values)."""

    def distance(self, classes: Classes) -> Floats:
        if len(classes) * len(self.whole) <= DENSE_TABLE:
            return self._of(classes.table(self.column), classes.size)
        histogram = classes.histogram(self.column)
        values = len(self.whole)
        out = np.zeros(len(classes))
        step = max(1, DENSE_TABLE // values)
        for start in range(0, len(classes), step):
            stop = min(start + step, len(classes))
            low, high = np.searchsorted(histogram.class_of, [start, stop])
            counts = np.zeros((stop - start, values))
            rows = histogram.class_of[low:high] - start
            counts[rows, histogram.value[low:high]] = histogram.count[low:high]
            out[start:stop] = self._of(counts, classes.size[start:stop])
        return out

    def _of(self, counts: Floats, size: Ints) -> Floats:
        elsewhere = len(self.whole) - counts.shape[1]  # values of no row here
        part = np.pad(counts / np.maximum(size, 1)[:, None], ((0, 0), (0, elsewhere)))
        extra = part - self.whole
        return np.where(size > 0, self.difference(extra), 0.0)


class _Ordered(_DenseClosenessTest):
    def __init__(self, model: OrderedTCloseness, problem: Problem) -> None:
        super().__init__(model, problem)
        order = _order(self.labels, given=model.order, column=model.column)
        self.order = np.array(order)

    def difference(self, extra: Floats) -> Floats:
        if extra.shape[1] < 2:
            return np.zeros(len(extra))
        moved = np.abs(np.cumsum(extra[:, self.order], axis=1)).sum(axis=1)
        return moved / (extra.shape[1] - 1)


def _order(
    labels: Sequence[str], *, given: Sequence[str] | None, column: str
) -> list[int]:
    known = set() if given is None else set(given)
    # A missing or suppressed cell is no number, and makes the others no words.
    told = [i for i, v in enumerate(labels) if v not in _NO_VALUE or v in known]
    untold = [i for i, v in enumerate(labels) if v in _NO_VALUE and v not in known]
    if given is not None:
        require(
            {labels[i] for i in told} <= known,
            f"The order of column {column} lacks a value of the table.",
        )
        place = {value: index for index, value in enumerate(given)}
        return sorted(told, key=lambda i: place[labels[i]]) + untold
    try:
        numbers = {i: float(labels[i]) for i in told}
    except ValueError:
        return sorted(told, key=lambda i: labels[i]) + untold
    return sorted(told, key=numbers.__getitem__) + untold


class _Hierarchical(_DenseClosenessTest):
    """Li, Li and Venkatasubramanian (2007), section 6: the cost is summed upwards.

    At an inner node of height h the smaller of what its children have too much and
    too little is moved between them, over a distance of h over the whole height.
    """

    def __init__(self, model: HierarchicalTCloseness, problem: Problem) -> None:
        super().__init__(model, problem)
        labels = self.labels
        hierarchy = model.hierarchy
        gaps = hierarchy.check(labels)
        require(
            not gaps,
            f"The hierarchy of column {model.column} lacks {len(gaps)} values.",
        )
        self.height = max(hierarchy.height, 1)
        # steps[l]: which node of level l + 1 each node of level l belongs to.
        self.steps: list[Floats] = []
        below = list(labels)
        paths = [path for path in map(hierarchy.path, labels) if path is not None]
        for level in range(1, hierarchy.height + 1):
            parents = [path[level] for path in paths]
            nodes = list(dict.fromkeys(parents))
            step = np.zeros((len(dict.fromkeys(below)), len(nodes)))
            rows = {name: row for row, name in enumerate(dict.fromkeys(below))}
            for child, parent in zip(below, parents, strict=True):
                step[rows[child], nodes.index(parent)] = 1
            self.steps.append(step)
            below = parents

    def difference(self, extra: Floats) -> Floats:
        cost = np.zeros(len(extra))
        for level, step in enumerate(self.steps, start=1):
            over = np.maximum(extra, 0) @ step
            extra = extra @ step
            cost += (level / self.height) * np.minimum(over, over - extra).sum(axis=1)
        return cost
