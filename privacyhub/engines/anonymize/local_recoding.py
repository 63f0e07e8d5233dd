"""Local recoding: what is suppressed is generalized again, on its own.

Round by round the rows that are left are given the best transformation for them, so
that different rows of a column can stand at different levels. A class of one round is
a class of the whole output, or part of a larger one: so only models that hold of the
union of two classes for which they hold keep their promise this way. Those that compare
a class with the table are given the distribution in all rows, not in those of a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from . import local_scores
from .aggregation import spread_lost
from .encoding import rows_suppressed_before
from .errors import AnonymizeError, AnonymizeTimeout
from .hierarchies import ROOT, Hierarchy, as_text
from .keys import Ints
from .local_scores import Round
from .metrics import Metric
from .models import Model
from .models_closeness import TCloseness
from .models_likeness import BasicBetaLikeness, EnhancedBetaLikeness
from .models_sensitive import (
    ComparedModel,
    DistinctLDiversity,
    EntropyLDiversity,
    RecursiveCLDiversity,
)
from .models_size import KAnonymity
from .run import Result, anonymize

# The union of two classes that hold holds. Delta-disclosure is not here: a class may
# lack a value and then, joined with another, have too little of it.
LOCAL_MODELS = (
    KAnonymity,
    DistinctLDiversity,
    EntropyLDiversity,
    RecursiveCLDiversity,
    TCloseness,
    BasicBetaLikeness,
    EnhancedBetaLikeness,
)
MAX_ROUNDS = 100
# The part of the time that is kept for a last round held to the limit.
LAST_PART = 0.1


@dataclass(frozen=True)
class LocalResult:
    """`rounds`: the transformation of each round, `rows`: how many rows it shows.

    `proved`: whether it is the best for the rows that were left; `optimal`: that each
    search was, also one that showed nothing more. `suppressed`: rows that stay hidden,
    at most `limit`; those that were suppressed before are not counted. `first`: the
    result of the first round, over the rows that were not. `spread_lost`: see `Result`.
    """

    frame: pl.DataFrame = field(repr=False)
    rounds: tuple[Mapping[str, int], ...]
    rows: tuple[int, ...]
    proved: tuple[bool, ...]
    optimal: bool
    suppressed: int
    limit: int
    checked: int
    suppressed_rows: pl.Series = field(repr=False)
    first: Result = field(repr=False)
    shown: tuple[Round, ...] = field(repr=False)
    spread_lost: Mapping[str, float | None]

    @cached_property
    def score(self) -> float:
        """The metric's figure of the whole table, as it is shown in the end."""
        return local_scores.score(self.first, self.shown)

    @cached_property
    def column_loss(self) -> dict[str, float]:
        """The cost of each column over the whole table: see `Result.column_loss`."""
        return local_scores.column_loss(self.first, self.shown)


def recode_locally(
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
) -> LocalResult:
    """Anonymize, then again what was suppressed, until no round shows more rows.

    Each round may suppress as many rows as pays; if more are left at the end than the
    limit allows, one last round is held to it. `progress` is called with (nodes
    decided, nodes) of the round that is searched. `time_limit` holds for all rounds
    together: when it is up, what was found so far stays, and `optimal` is false.
    Rows that were suppressed before stay so, and count nowhere. Raises as `anonymize`,
    and for models that such unions can break.
    """
    _require_local(models)
    if not 0 <= suppression_limit <= 1:
        raise AnonymizeError("The suppression limit must be from 0 to 1.")
    known = [name for name in quasi_identifiers if name in frame.columns]
    before = rows_suppressed_before(frame, {n: quasi_identifiers[n] for n in known})
    visible = np.flatnonzero(~before)
    whole = frame[visible] if before.any() else frame
    rounds = _Rounds(
        frame=whole,
        asked=_Asked(
            quasi_identifiers=quasi_identifiers,
            models=[_in_parts(model, of=whole) for model in models],
            metric=metric,
            aggregates=aggregates or {},
            progress=progress,
            cancelled=cancelled,
        ),
        suppression_limit=suppression_limit,
        time_limit=time_limit,
    )
    rounds.run()
    return rounds.result(frame, visible=visible)


def suppress_cells(
    frame: pl.DataFrame,
    *,
    columns: Sequence[str],
    models: Sequence[Model],
    suppression_limit: float = 0.0,
    metric: Metric | None = None,
    aggregates: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    time_limit: float | None = None,
) -> LocalResult:
    """Hide single cells instead of generalizing: local recoding to value or `*`."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise AnonymizeError(f"Column {missing[0]} is missing.")
    return recode_locally(
        frame,
        quasi_identifiers={
            name: Hierarchy.suppress(as_text(frame[name]).unique(maintain_order=True))
            for name in columns
        },
        models=models,
        suppression_limit=suppression_limit,
        metric=metric,
        aggregates=aggregates,
        progress=progress,
        cancelled=cancelled,
        time_limit=time_limit,
    )


def _require_local(models: Sequence[Model]) -> None:
    for model in models:
        if not isinstance(model, LOCAL_MODELS) or (
            isinstance(model, EntropyLDiversity) and model.estimator != "shannon"
        ):
            raise AnonymizeError(
                f"Local recoding cannot keep {model.describe()}: joining two classes "
                "for which it holds can break it, or it is one of the whole table."
            )


def _in_parts(model: Model, *, of: pl.DataFrame) -> Model:
    if isinstance(model, ComparedModel) and model.column in of.columns:
        return model.in_parts_of(of)
    return model


@dataclass(frozen=True)
class _Asked:
    """What each round is asked for."""

    quasi_identifiers: Mapping[str, Hierarchy]
    models: Sequence[Model]
    metric: Metric | None
    aggregates: Mapping[str, str]
    progress: Callable[[int, int], None] | None
    cancelled: Callable[[], bool] | None

    def solve(
        self, rows: pl.DataFrame, *, limit: float, seconds: float | None
    ) -> Result:
        return anonymize(
            rows,
            quasi_identifiers=self.quasi_identifiers,
            models=self.models,
            suppression_limit=limit,
            metric=self.metric,
            aggregates=self.aggregates,
            progress=self.progress,
            cancelled=self.cancelled,
            time_limit=seconds,
        )


class _Rounds:
    """The rounds over a table whose rows are all to be shown if possible."""

    def __init__(
        self,
        *,
        frame: pl.DataFrame,
        asked: _Asked,
        suppression_limit: float,
        time_limit: float | None,
    ) -> None:
        self.frame = frame
        self.asked = asked
        self.suppression_limit = suppression_limit
        self.allowed = int(np.floor(suppression_limit * frame.height + 1e-9))
        self.ends = None if time_limit is None else time.monotonic() + time_limit
        self.reserve = 0.0 if time_limit is None else LAST_PART * time_limit
        self.left: Ints = np.arange(frame.height)
        self.parts: list[pl.DataFrame] = []
        self.shown: list[Round] = []
        self.groups: list[Ints] = []
        self.proved: list[bool] = []
        self.optimal = True
        self.checked = 0
        self.first: Result | None = None

    def run(self) -> None:
        for _ in range(MAX_ROUNDS):
            if not self._one_more():
                break
        if len(self.left) > self.allowed:
            self._held_to_limit()

    def _seconds(self, *, reserve: float) -> float | None:
        """How long a search may take, at most."""
        if self.ends is None:
            return None
        return max(self.ends - reserve - time.monotonic(), 0.0)

    def _one_more(self) -> bool:
        """Another round; whether there may be one after it."""
        seconds = self._seconds(reserve=self.reserve)
        if self.first is not None and seconds == 0:
            self.optimal = False
            return False
        try:
            result = self._solved(seconds)
        except AnonymizeError as error:
            if self.first is None:
                raise
            self.optimal &= not isinstance(error, AnonymizeTimeout)
            return False
        self.first = self.first or result
        self.optimal &= result.optimal
        if result.suppressed == len(self.left):
            return False
        self._show(result)
        return len(self.left) > 0

    def _solved(self, seconds: float | None) -> Result:
        rows = self.frame[self.left]
        result = self.asked.solve(rows, limit=1.0, seconds=seconds)
        self.checked += result.checked
        if result.suppressed < len(self.left) or len(self.left) <= self.allowed:
            return result
        result = self.asked.solve(
            rows,
            limit=self.allowed / len(self.left),
            seconds=self._seconds(reserve=self.reserve),
        )
        self.checked += result.checked
        return result

    def _show(self, result: Result) -> None:
        hidden = result.suppressed_rows.to_numpy()
        self.parts.append(result.frame.filter(~result.suppressed_rows))
        self.shown.append(Round(levels=result.check.levels, rows=self.left[~hidden]))
        self.proved.append(result.optimal)
        self.groups.append(result.check.classes.of_row[~hidden])
        self.left = self.left[hidden]

    def _held_to_limit(self) -> None:
        """Where rounds end with too many rows left: one transformation for all."""
        result = self.asked.solve(
            self.frame,
            limit=self.suppression_limit,
            seconds=self._seconds(reserve=0.0),
        )
        self.left = np.arange(self.frame.height)
        self.parts, self.shown, self.proved, self.groups = [], [], [], []
        self.first, self.optimal = result, result.optimal
        self.checked += result.checked
        self._show(result)

    def result(self, table: pl.DataFrame, *, visible: Ints) -> LocalResult:
        """`visible`: which rows of the table the rounds were over."""
        assert self.first is not None  # noqa: S101 - a table without rows raised before
        shown = [visible[one.rows] for one in self.shown]
        hidden = np.ones(table.height, dtype=bool)
        hidden[np.concatenate([*shown, np.zeros(0, dtype=np.int64)])] = False
        names = list(self.first.levels)
        return LocalResult(
            frame=_joined(
                table,
                self.parts,
                shown,
                hidden=hidden,
                columns=self.first.request.known,
            ),
            rounds=tuple(
                dict(zip(names, one.levels, strict=True)) for one in self.shown
            ),
            rows=tuple(len(rows) for rows in shown),
            proved=tuple(self.proved),
            optimal=self.optimal,
            suppressed=len(self.left),
            limit=self.allowed,
            checked=self.checked,
            suppressed_rows=pl.Series("suppressed", hidden),
            first=self.first,
            shown=tuple(self.shown),
            spread_lost=self._spread_lost(),
        )

    def _spread_lost(self) -> dict[str, float | None]:
        """As `Result.spread_lost`, over the classes of all rounds."""
        none: Ints = np.zeros(0, dtype=np.int64)
        rows = np.concatenate([none, *(one.rows for one in self.shown)])
        groups, numbered = none, 0
        for part in self.groups:
            groups = np.concatenate([groups, part + numbered])
            numbered += int(part.max(initial=-1)) + 1
        return {
            name: spread_lost(self.frame[name].gather(rows), groups=groups)
            for name in self.asked.aggregates
        }


def _joined(
    frame: pl.DataFrame,
    parts: Sequence[pl.DataFrame],
    shown: Sequence[Ints],
    *,
    hidden: np.ndarray,
    columns: Sequence[str],
) -> pl.DataFrame:
    """The rounds' rows and the hidden ones, in the order of the table."""
    left = np.flatnonzero(hidden)
    rest = frame[left].with_columns(
        pl.lit(ROOT, dtype=pl.String).alias(name) for name in columns
    )
    text = pl.col(list(columns)).cast(pl.String)  # each round has its own codes
    index = np.concatenate([*shown, left])
    return pl.concat([*(part.with_columns(text) for part in parts), rest])[
        np.argsort(index)
    ]
