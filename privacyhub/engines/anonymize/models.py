"""What a privacy model is, to the search.

A model is a frozen dataclass of its parameters. `bind` ties it to an encoded table
and gives a `Test`, which says of the classes of a transformation which of them fail.
A class that fails any test is suppressed, as in ARX.

Two facts about a test decide what may be pruned, and both are theorems, not guesses:

* `inherits`: when a class fails, every part of it fails (k-anonymity: fewer rows).
  Rows suppressed at a node are then suppressed in all its specialisations.
* `mergeable`: the union of classes that hold, holds. (Entropy and t-closeness:
  convexity; ratios: the mediant.) When a class fails at a node, its rows cannot all be
  kept in any specialisation, so at least one of them is suppressed there.

`least` says how many rows of each class are suppressed in *every* specialisation.
A test of the whole table (average risk, uniqueness) does not point at classes: it
suppresses the smallest ones until it holds, see `TableTest`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import polars as pl

from .classes import Classes
from .encoding import Problem
from .errors import AnonymizeError
from .keys import Bools, Floats, Ints


class Test(ABC):
    """A model tied to a table."""

    __test__ = False  # not a test case
    inherits: bool = False
    mergeable: bool = False
    # Classes of fewer rows fail, see `too_small`.
    fewest: int = 0
    # A class without a row of the subset fails here first, before any other test: the
    # model implies a least number of rows.
    takes_empty: bool = False

    @abstractmethod
    def failing(self, classes: Classes) -> Bools:
        """Which classes do not hold, shape (classes,)."""

    def too_small(self, size: Ints | Floats, *, population: Ints | Floats) -> Bools:
        """Which classes of so many rows fail, and with them each of their parts."""
        return np.zeros(len(size), dtype=bool)

    def least(self, classes: Classes, failing: Bools) -> Ints:
        """Rows of each class that are suppressed in every specialisation."""
        if self.inherits:
            return np.where(failing, classes.size, 0)
        if self.mergeable:
            return np.where(failing & (classes.size > 0), 1, 0)
        return np.zeros(len(classes), dtype=np.int64)

    def hopeless(self, classes: Classes) -> bool:
        """No suppression helps, neither here nor in any specialisation."""
        return False


class TableTest(ABC):
    """A model of the table as a whole, tied to it."""

    __test__ = False
    # Suppressing fewer rows cannot be enough in a specialisation.
    inherits: bool = False

    @abstractmethod
    def holds(self, sizes: Ints) -> bool:
        """Whether a table with classes of these sizes holds; true without rows."""

    def enforce(
        self, classes: Classes, suppressed: Bools, *, order: Floats, limit: int
    ) -> Bools:
        """Suppress the smallest classes until the table holds.

        `order` ranks classes of equal size, lowest first; then the one whose first
        row comes first. The search for how many is ARX's bisection, so that estimates
        that are not monotone give the same rows. Where the table does not hold with
        more than `limit` rows suppressed, or at the end, everything is suppressed.
        """
        kept = np.flatnonzero(~suppressed & (classes.size > 0))
        sizes = classes.size[kept]
        if self.holds(sizes):
            return suppressed
        rank = kept[np.lexsort((classes.first_row[kept], order[kept], sizes))]
        before = int(classes.size[suppressed].sum())
        count = self._bisect(classes.size[rank], limit=limit - before)
        out = suppressed.copy()
        out[rank[:count]] = True
        return out

    def _bisect(self, sizes: Ints, *, limit: int) -> int:
        """How many of the smallest classes go, as ARX's bisection ends."""
        rows = np.cumsum(sizes)
        low, high = 0, len(sizes) - 1
        middle = high // 2
        while low <= high:
            if self.holds(sizes[middle + 1 :]):
                high = middle - 1
            elif rows[middle] > limit:
                return len(sizes)
            else:
                low = middle + 1
            middle = int((low + high) / 2)  # towards 0, as in Java
        for count in (middle + 1, middle + 2):
            if self.holds(sizes[count:]):
                return count
        return len(sizes)

    def least_rows(self, classes: Classes) -> int:
        """Rows that any specialisation must suppress for this model alone."""
        if not self.inherits:
            return 0
        sizes = np.sort(classes.size[classes.size > 0])
        count = 0
        if not self.holds(sizes):
            low, high = 1, len(sizes)
            while low < high:
                middle = (low + high) // 2
                if self.holds(sizes[middle:]):
                    high = middle
                else:
                    low = middle + 1
            count = low
        return int(sizes[:count].sum())


@dataclass(frozen=True)
class Model(ABC):
    """A privacy model's parameters."""

    @abstractmethod
    def bind(self, problem: Problem) -> Test | TableTest:
        """Tie the model to a table; raises AnonymizeError when it cannot hold."""

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The sensitive columns that the model looks at."""
        return ()

    def research_subset(self, frame: pl.DataFrame) -> Bools | None:
        """The rows that are anonymized, if the model says; the others are context."""
        return None

    def larger_population(self) -> pl.DataFrame | None:
        """The table that the anonymized one was taken from, if the model has it."""
        return None

    @property
    def bears_aggregates(self) -> bool:
        """Whether it still holds of rows that show aggregates of their class.

        Not where classes are compared with rows that are not shown, since these are
        told apart by an aggregate that does not fit them; nor where the data may not
        choose what is shown.
        """
        return self.larger_population() is None

    def fixed_levels(self, problem: Problem) -> tuple[int, ...] | None:
        """The one node that may be used, if the data may not choose it."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """The model in one phrase, for pages and reports."""


def require(condition: bool, message: str) -> None:  # noqa: FBT001
    """Raise AnonymizeError with the message unless the condition holds."""
    if not condition:
        raise AnonymizeError(message)
