"""`anonymize`: the best transformation of a table under privacy models.

>>> frame = pl.DataFrame({"age": [31, 32, 33, 34], "job": ["a", "b", "a", "b"]})
>>> ages = Hierarchy.intervals(frame["age"], widths=[2, 4])
>>> result = anonymize(
...     frame, quasi_identifiers={"age": ages}, models=[KAnonymity(2)])
>>> result.levels, result.frame["age"].to_list(), result.optimal
({'age': 2}, ['28-31', '32-35', '32-35', '32-35'], True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from . import aggregation, lattice, risk
from .checks import Check, Checker, Node
from .errors import AnonymizeError, AnonymizeTimeout
from .hierarchies import Hierarchy
from .lattice import Levels
from .metrics import Metric, relative_gap
from .metrics_columns import ColumnScorer, Loss
from .models import Model
from .recoding import recode, suppressed_rows
from .requests import Request, bound, fixed_levels, require_allowed, validate
from .risk import Risk
from .rows import FrameRows, Recoding
from .search import Exhaustive, Limits, Outcome, fixed_node
from .search_boxes import Anytime

# Past these the lattice is not held in memory (numpy has at most 32 axes).
MAX_NODES = 2_000_000
MAX_COLUMNS = 30


@dataclass(frozen=True)
class BeforeAfter:
    """Risk of the table as it came, and of the rows that the result shows."""

    before: risk.Risk
    after: risk.Risk


@dataclass(frozen=True)
class Result:
    """A transformation of the table.

    `score` is the metric's figure (lower is better); `optimal`: no other node scores
    lower, proved; otherwise `gap` is the part of the score by which the best possible
    may lie below it, at most. `checked` counts the nodes whose classes were computed,
    and `nodes` holds them; `lattice_size` counts all.
    """

    request: Request = field(repr=False)
    levels: Mapping[str, int]
    score: float
    suppressed: int
    optimal: bool
    gap: float
    lattice_size: int
    nodes: tuple[Node, ...] = field(repr=False)
    check: Check = field(repr=False)
    checker: Checker = field(repr=False)

    @property
    def checked(self) -> int:
        return len(self.nodes)

    @property
    def key(self) -> tuple[float, ...]:
        """What `score` is compared by; more than one figure where costs are ranked."""
        assert self.check.score is not None  # noqa: S101 - only such are results
        return self.check.score.key

    @property
    def columns(self) -> tuple[str, ...]:
        """The quasi-identifiers in the order of `Node.levels`."""
        return tuple(self.levels)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The anonymized table: rows in order, columns without a role untouched."""
        return pl.concat(self.slices())

    def slices(self) -> Iterator[pl.DataFrame]:
        """`frame`, a million rows at a time, for tables that fill the memory."""
        return recode(
            FrameRows(self.request.frame),
            problem=self.checker.problem,
            levels=self.levels,
            hidden=self.suppressed_rows.to_numpy(),
            aggregated=self.aggregated,
        )

    @cached_property
    def aggregated(self) -> dict[str, Recoding]:
        """What the rows show of each column that is aggregated in their class."""
        classes, hidden = self.check.classes, self.suppressed_rows.to_numpy()
        return {
            name: aggregation.aggregated(
                self.request.frame[name],
                of_row=classes.of_row,
                classes=len(classes),
                hidden=hidden,
                function=function,
            )
            for name, function in self.request.aggregates.items()
        }

    @cached_property
    def spread_lost(self) -> dict[str, float | None]:
        """What the rows that are shown lose of each aggregated column's variance."""
        shown = np.flatnonzero(~self.suppressed_rows.to_numpy())
        groups = self.check.classes.of_row[shown]
        return {
            name: aggregation.spread_lost(
                self.request.frame[name].gather(shown), groups=groups
            )
            for name in self.request.aggregates
        }

    @cached_property
    def suppressed_rows(self) -> pl.Series:
        """Which rows are suppressed, in the order of the table."""
        hidden = suppressed_rows(self.check.classes, self.check.suppressed)
        return pl.Series("suppressed", hidden)

    @cached_property
    def column_scorer(self) -> ColumnScorer:
        """The metric's own, or loss for a metric that has no cost of a column."""
        scorer = self.checker.scorer
        if isinstance(scorer, ColumnScorer):
            return scorer
        return Loss().bind(self.checker.problem)

    @property
    def has_column_cost(self) -> bool:
        """Whether `column_loss` is the metric's own."""
        return self.column_scorer is self.checker.scorer

    @cached_property
    def column_loss(self) -> dict[str, float]:
        """The metric's cost of each column; in loss where the metric has none."""
        return self.column_scorer.by_column(self.check.classes, self.check.suppressed)

    @cached_property
    def risk(self) -> BeforeAfter:
        return self.risk_at(risk.DEFAULT_THRESHOLD)

    def risk_at(self, threshold: float) -> BeforeAfter:
        """Risk with another threshold for rows at risk."""
        classes, kept = self.check.classes, ~self.check.suppressed
        return BeforeAfter(
            before=self._risk_before(threshold),
            after=risk.from_sizes(
                classes.size[kept],
                population=classes.population[kept],
                suppressed=self.suppressed,
                threshold=threshold,
            ),
        )

    def _risk_before(self, threshold: float) -> Risk:
        problem, request = self.checker.problem, self.request
        if not request.aggregates:
            original = self.checker.check((0,) * len(problem.columns)).classes
            return risk.from_sizes(
                original.size, population=original.population, threshold=threshold
            )
        rows = request.frame.select(request.known)
        seen = np.ones(rows.height, dtype=bool)
        if problem.hidden is not None:
            seen &= ~problem.hidden
        shown = seen if problem.subset is None else seen & problem.subset
        return risk.measure(
            rows.filter(shown),
            request.known,
            threshold=threshold,
            population=rows.filter(seen),
        )

    def apply(self, levels: Mapping[str, int]) -> Result:
        """The same request at another node; raises AnonymizeError if it fails."""
        chosen = _node(self.checker, levels)
        require_allowed(chosen, fixed=fixed_levels(self.request, self.checker))
        check = _holding(self.checker, chosen)
        assert check.score is not None  # noqa: S101 - it holds
        score = check.score.value
        lower = self.score * (1 - self.gap)
        same = self.optimal and check.score.no_worse(self.key)
        return replace(
            self,
            levels=dict(zip(self.levels, chosen, strict=True)),
            score=score,
            suppressed=check.rows,
            optimal=same,
            gap=0.0 if same else relative_gap(score=score, lower=lower),
            check=check,
        )


def anonymize(
    frame: pl.DataFrame,
    *,
    quasi_identifiers: Mapping[str, Hierarchy],
    models: Sequence[Model],
    suppression_limit: float = 0.0,
    metric: Metric | None = None,
    aggregates: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    time_limit: float | None = None,
) -> Result:
    """Find the transformation of least cost whose classes meet every model.

    Where a specialisation of the one found costs the same, it is taken instead.

    `suppression_limit` is the part of the rows, from 0 to 1, that may be suppressed;
    models that fix the levels know no limit.
    `aggregates` names further quasi-identifiers, each with what a class shows of its
    values; the metric does not cost them. `progress` is called with (nodes decided,
    nodes); `cancelled` is asked between nodes. After `time_limit` seconds the best so
    far is returned with its gap.

    Raises AnonymizeError for bad input and when no transformation meets the models,
    AnonymizeCancelled when cancelled.
    """
    request = Request(
        frame=frame,
        quasi_identifiers=dict(quasi_identifiers),
        models=tuple(models),
        suppression_limit=suppression_limit,
        metric=Loss() if metric is None else metric,
        aggregates=dict(aggregates or {}),
    )
    limits = Limits(progress=progress, cancelled=cancelled, time_limit=time_limit)
    validate(request)
    checker, fixed = bound(request)
    outcome = _search(checker, fixed=fixed, limits=limits)
    return _result(request=request, checker=checker, outcome=outcome)


def transform(
    frame: pl.DataFrame,
    *,
    levels: Mapping[str, int],
    quasi_identifiers: Mapping[str, Hierarchy],
    models: Sequence[Model],
    suppression_limit: float = 0.0,
    metric: Metric | None = None,
    aggregates: Mapping[str, str] | None = None,
) -> Result:
    """A transformation that is given, without a search.

    Its classes that fail a model are suppressed, as in `anonymize`. `optimal` is
    false, and `gap` is to the least that the metric could be, since nothing else was
    checked. Raises AnonymizeError where it does not hold within the limit.
    """
    request = Request(
        frame=frame,
        quasi_identifiers=dict(quasi_identifiers),
        models=tuple(models),
        suppression_limit=suppression_limit,
        metric=Loss() if metric is None else metric,
        aggregates=dict(aggregates or {}),
    )
    validate(request)
    checker, fixed = bound(request)
    chosen = _node(checker, levels)
    require_allowed(chosen, fixed=fixed)
    check = _holding(checker, chosen)
    assert check.score is not None  # noqa: S101 - it holds
    score = check.score.value
    parts = checker.scorer.parts()
    lower = -np.inf
    if parts is not None:
        least = checker.scorer.join.reduce([part.min() for part in parts])
        lower = checker.scorer.shown(float(least))
    return Result(
        request=request,
        levels=dict(zip(request.quasi_identifiers, chosen, strict=True)),
        score=score,
        suppressed=check.rows,
        optimal=False,
        gap=relative_gap(score=score, lower=lower),
        lattice_size=lattice.size(checker.problem.heights),
        nodes=(check.node(bound=lower),),
        check=check,
        checker=checker,
    )


def _node(checker: Checker, levels: Mapping[str, int]) -> Levels:
    """The named levels in the order of the columns."""
    columns = checker.problem.columns
    if set(levels) != {column.name for column in columns}:
        raise AnonymizeError("Name a level for each quasi-identifier.")
    for column in columns:
        if not 0 <= levels[column.name] <= column.height:
            raise AnonymizeError(
                f"Column {column.name}: the level must be from 0 to {column.height}."
            )
    return tuple(levels[column.name] for column in columns)


def _holding(checker: Checker, levels: Levels) -> Check:
    """The check of a node that holds within the limit."""
    check = checker.check(levels)
    if check.score is None:
        raise AnonymizeError(
            f"This transformation suppresses {check.rows} rows to meet the "
            f"models; the limit is {checker.limit}."
        )
    return check


def what_if(
    result: Result,
    *,
    models: Sequence[Model] | None = None,
    suppression_limit: float | None = None,
    metric: Metric | None = None,
    cancelled: Callable[[], bool] | None = None,
    time_limit: float | None = None,
) -> Result:
    """The result of the same request with other models, limit or metric."""
    request = result.request
    return anonymize(
        request.frame,
        quasi_identifiers=request.quasi_identifiers,
        models=request.models if models is None else models,
        suppression_limit=(
            request.suppression_limit
            if suppression_limit is None
            else suppression_limit
        ),
        metric=request.metric if metric is None else metric,
        aggregates=request.aggregates,
        cancelled=cancelled,
        time_limit=time_limit,
    )


def _search(checker: Checker, *, fixed: Levels | None, limits: Limits) -> Outcome:
    """The search that fits: one fixed node, the whole lattice, or an anytime search."""
    problem = checker.problem
    if fixed is not None:
        return fixed_node(checker, levels=fixed)
    if lattice.size(problem.heights) > MAX_NODES or len(problem.heights) > MAX_COLUMNS:
        return Anytime(checker=checker, limits=limits).run()
    return Exhaustive(checker=checker, limits=limits).run()


def _result(*, request: Request, checker: Checker, outcome: Outcome) -> Result:
    if outcome.best is None or outcome.best.score is None:
        if outcome.proved:
            raise AnonymizeError(
                "No transformation meets the models within the suppression limit."
            )
        raise AnonymizeTimeout(
            "The time was up before a transformation was found that meets the models."
        )
    best = outcome.best
    score = outcome.best.score.value
    return Result(
        request=request,
        levels=dict(zip(request.quasi_identifiers, best.levels, strict=True)),
        score=score,
        suppressed=best.rows,
        optimal=outcome.proved,
        gap=0.0 if outcome.proved else relative_gap(score=score, lower=outcome.lower),
        lattice_size=lattice.size(checker.problem.heights),
        nodes=outcome.nodes,
        check=best,
        checker=checker,
    )
