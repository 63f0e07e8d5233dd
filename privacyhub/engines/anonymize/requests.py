"""A request: what is asked of a table, checked and bound to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from . import aggregation
from .checks import Checker
from .encoding import encode
from .errors import AnonymizeError
from .hierarchies import Hierarchy
from .keys import Bools
from .lattice import Levels
from .metrics import Metric
from .models import Model, TableTest, Test


@dataclass(frozen=True)
class Request:
    """What was asked for; `what_if` changes one part of it.

    `aggregates`: by further quasi-identifiers, what each class shows of its values (see
    `aggregation`).
    """

    frame: pl.DataFrame = field(repr=False)
    quasi_identifiers: Mapping[str, Hierarchy] = field(repr=False)
    models: tuple[Model, ...]
    suppression_limit: float
    metric: Metric
    aggregates: Mapping[str, str] = field(default_factory=dict)

    @property
    def known(self) -> list[str]:
        """All columns that an attacker is taken to know."""
        return [*self.quasi_identifiers, *self.aggregates]


def validate(request: Request) -> None:
    """Raise AnonymizeError where a request cannot be one of its table."""
    frame = request.frame
    if not request.quasi_identifiers:
        raise AnonymizeError("Name at least one quasi-identifier.")
    if not request.models:
        raise AnonymizeError("Name at least one privacy model.")
    if not 0 <= request.suppression_limit <= 1:
        raise AnonymizeError("The suppression limit must be from 0 to 1.")
    if frame.height == 0:
        raise AnonymizeError("The table has no rows.")
    sensitive = [name for model in request.models for name in model.sensitive]
    sensitive += request.metric.responses
    for name in [*request.known, *sensitive]:
        if name not in frame.columns:
            raise AnonymizeError(f"Column {name} is missing.")
    for name in sensitive:
        if name in request.known:
            raise AnonymizeError(
                f"Column {name} is sensitive and cannot be a quasi-identifier too."
            )
    if request.aggregates:
        _validate_aggregates(request)


def _validate_aggregates(request: Request) -> None:
    for name, function in request.aggregates.items():
        if name in request.quasi_identifiers:
            raise AnonymizeError(f"Column {name} is generalized and aggregated.")
        aggregation.check(request.frame[name], function=function)
    for model in request.models:
        if not model.bears_aggregates:
            raise AnonymizeError(
                f"{model.describe()} cannot be kept beside microaggregation, which "
                "shows values of the rows that are released."
            )


def bind(request: Request) -> Checker:
    """Encode the table and tie models and metric to it."""
    models, metric = request.models, request.metric
    sensitive = [name for model in models for name in model.sensitive]
    subset = _subset(request)
    problem = encode(
        request.frame,
        quasi_identifiers=request.quasi_identifiers,
        sensitive=list(dict.fromkeys([*sensitive, *metric.responses])),
        subset=subset,
        population=_population(request, subset=subset),
    )
    if not problem.total:
        raise AnonymizeError("The table has no rows to anonymize.")
    tests = [model.bind(problem) for model in models]
    return Checker(
        problem=problem,
        tests=[test for test in tests if isinstance(test, Test)],
        table_tests=[test for test in tests if isinstance(test, TableTest)],
        scorer=metric.bind(problem),
        # Rounded down, as ARX does; the guard keeps 0.1 * 30 at 3.
        limit=int(np.floor(request.suppression_limit * problem.total + 1e-9)),
    )


def bound(request: Request) -> tuple[Checker, Levels | None]:
    """The checker, and the one node that the models allow if they leave no choice.

    Then no limit holds: small classes go, however many rows they have.
    """
    checker = bind(request)
    fixed = fixed_levels(request, checker)
    if fixed is not None:
        checker = replace(checker, limit=checker.problem.total)
    return checker, fixed


def require_allowed(chosen: Levels, *, fixed: Levels | None) -> None:
    """Raise AnonymizeError where the models fix other levels."""
    if fixed is not None and chosen != fixed:
        raise AnonymizeError("The models fix other levels.")


def fixed_levels(request: Request, checker: Checker) -> Levels | None:
    """The one node that the models allow, if they leave no choice."""
    fixed = [model.fixed_levels(checker.problem) for model in request.models]
    nodes = {levels for levels in fixed if levels is not None}
    if len(nodes) > 1:
        raise AnonymizeError("The models fix different levels.")
    return nodes.pop() if nodes else None


def _subset(request: Request) -> Bools | None:
    """The rows that all models with a subset name; they must agree."""
    subsets = [model.research_subset(request.frame) for model in request.models]
    named = [subset for subset in subsets if subset is not None]
    if any(not np.array_equal(subset, named[0]) for subset in named[1:]):
        raise AnonymizeError("The models name different subsets of the rows.")
    return named[0] if named else None


def _population(request: Request, *, subset: Bools | None) -> pl.DataFrame | None:
    """The population table that a model brings."""
    named = [
        p for p in (m.larger_population() for m in request.models) if p is not None
    ]
    if not named:
        return None
    if any(not table.equals(named[0]) for table in named[1:]):
        raise AnonymizeError("The models name different populations.")
    if any(
        model.research_subset(request.frame) is not None for model in request.models
    ):
        raise AnonymizeError(
            "Models with a subset and with a population exclude another."
        )
    for name in request.quasi_identifiers:
        if name not in named[0].columns:
            raise AnonymizeError(f"The population lacks the column {name}.")
    return named[0]
