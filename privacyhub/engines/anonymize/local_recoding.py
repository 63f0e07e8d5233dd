"""Local recoding: what is suppressed is generalized again, on its own.

Round by round the rows that are left are given the best transformation for them, so
that different rows of a column can stand at different levels. Only models that look at
a class alone keep their promise this way: a class of one round is a class of the whole
output, or part of a larger one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from .errors import AnonymizeError
from .hierarchies import Hierarchy
from .metrics import Metric
from .models import Model
from .models_sensitive import (
    DistinctLDiversity,
    EntropyLDiversity,
    RecursiveCLDiversity,
)
from .models_size import KAnonymity
from .run import Result, anonymize

# The union of two classes that hold holds, and the rest of the table plays no part.
LOCAL_MODELS = (
    KAnonymity,
    DistinctLDiversity,
    EntropyLDiversity,
    RecursiveCLDiversity,
)
MAX_ROUNDS = 100


@dataclass(frozen=True)
class LocalResult:
    """`rounds`: the transformation of each round, `rows`: how many rows it shows.

    `suppressed`: rows that stay hidden; `first`: the result of the first round.
    """

    frame: pl.DataFrame = field(repr=False)
    rounds: tuple[Mapping[str, int], ...]
    rows: tuple[int, ...]
    suppressed: int
    suppressed_rows: pl.Series = field(repr=False)
    first: Result = field(repr=False)


def recode_locally(
    frame: pl.DataFrame,
    *,
    quasi_identifiers: Mapping[str, Hierarchy],
    models: Sequence[Model],
    suppression_limit: float = 0.0,
    metric: Metric | None = None,
    cancelled: Callable[[], bool] | None = None,
    time_limit: float | None = None,
) -> LocalResult:
    """Anonymize, then again what was suppressed, until no round shows more rows.

    Each round may suppress as many rows as pays; if more are left at the end than the
    limit allows, one last round is held to it. `time_limit` holds for each round.
    Raises as `anonymize`, and for models that need the whole table.
    """
    for model in models:
        if not isinstance(model, LOCAL_MODELS) or (
            isinstance(model, EntropyLDiversity) and model.estimator != "shannon"
        ):
            raise AnonymizeError(
                f"Local recoding cannot keep {model.describe()}: its classes depend on "
                "the whole table."
            )
    if not 0 <= suppression_limit <= 1:
        raise AnonymizeError("The suppression limit must be from 0 to 1.")
    allowed = int(np.floor(suppression_limit * frame.height + 1e-9))
    left = np.arange(frame.height)
    shown: list[tuple[np.ndarray, pl.DataFrame]] = []
    rounds: list[Mapping[str, int]] = []
    first: Result | None = None

    def solve(rows: pl.DataFrame, limit: float) -> Result:
        return anonymize(
            rows,
            quasi_identifiers=quasi_identifiers,
            models=models,
            suppression_limit=limit,
            metric=metric,
            cancelled=cancelled,
            time_limit=time_limit,
        )

    for _ in range(MAX_ROUNDS):
        rows = frame[left]
        try:
            result = solve(rows, 1.0)
            if result.suppressed == len(left) and len(left) > allowed:
                result = solve(rows, allowed / len(left))
        except AnonymizeError:
            if first is None:
                raise
            break
        first = first or result
        if result.suppressed == len(left):
            break
        hidden = result.suppressed_rows.to_numpy()
        shown.append((left[~hidden], result.frame.filter(~result.suppressed_rows)))
        rounds.append(result.levels)
        left = left[hidden]
        if not len(left):
            break
    if len(left) > allowed:
        return _held_to_limit(solve(frame, suppression_limit))
    assert first is not None  # noqa: S101 - a table without rows raised before
    hidden_rows = np.zeros(frame.height, dtype=bool)
    hidden_rows[left] = True
    return LocalResult(
        frame=_joined(frame, shown, left=left, columns=list(quasi_identifiers)),
        rounds=tuple(rounds),
        rows=tuple(len(index) for index, _ in shown),
        suppressed=len(left),
        suppressed_rows=pl.Series("suppressed", hidden_rows),
        first=first,
    )


def suppress_cells(
    frame: pl.DataFrame,
    *,
    columns: Sequence[str],
    models: Sequence[Model],
    suppression_limit: float = 0.0,
    metric: Metric | None = None,
) -> LocalResult:
    """Hide single cells instead of generalizing: local recoding to value or `*`."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise AnonymizeError(f"Column {missing[0]} is missing.")
    return recode_locally(
        frame,
        quasi_identifiers={
            name: Hierarchy.suppress(frame[name].unique(maintain_order=True))
            for name in columns
        },
        models=models,
        suppression_limit=suppression_limit,
        metric=metric,
    )


def _held_to_limit(result: Result) -> LocalResult:
    """Where rounds end with too many rows left: one transformation for all."""
    return LocalResult(
        frame=result.frame,
        rounds=(result.levels,),
        rows=(result.request.frame.height - result.suppressed,),
        suppressed=result.suppressed,
        suppressed_rows=result.suppressed_rows,
        first=result,
    )


def _joined(
    frame: pl.DataFrame,
    shown: Sequence[tuple[np.ndarray, pl.DataFrame]],
    *,
    left: np.ndarray,
    columns: Sequence[str],
) -> pl.DataFrame:
    """The rounds' rows and the hidden ones, in the order of the table."""
    rest = frame[left].with_columns(
        pl.lit("*", dtype=pl.String).alias(name) for name in columns
    )
    index = np.concatenate([*(rows for rows, _ in shown), left])
    text = pl.col(list(columns)).cast(pl.String)  # each round has its own codes
    parts = [part.with_columns(text) for _, part in shown]
    return pl.concat([*parts, rest])[np.argsort(index)]
