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
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .classes import Classes
from .encoding import Bools, Ints, Problem
from .errors import AnonymizeError


class Test(ABC):
    """A model tied to a table."""

    __test__ = False  # not a test case
    inherits: bool = False
    mergeable: bool = False

    @abstractmethod
    def failing(self, classes: Classes) -> Bools:
        """Which classes do not hold, shape (classes,)."""

    def least(self, classes: Classes, failing: Bools) -> Ints:
        """Rows of each class that are suppressed in every specialisation."""
        if self.inherits:
            return np.where(failing, classes.size, 0)
        if self.mergeable:
            return np.where(failing & (classes.size > 0), 1, 0)
        return np.zeros(len(classes), dtype=np.int64)


@dataclass(frozen=True)
class Model(ABC):
    """A privacy model's parameters."""

    @abstractmethod
    def bind(self, problem: Problem) -> Test:
        """Tie the model to a table; raises AnonymizeError when it cannot hold."""

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The sensitive columns that the model looks at."""
        return ()

    @abstractmethod
    def describe(self) -> str:
        """The model in one phrase, for pages and reports."""


def require(condition: bool, message: str) -> None:  # noqa: FBT001
    """Raise AnonymizeError with the message unless the condition holds."""
    if not condition:
        raise AnonymizeError(message)
