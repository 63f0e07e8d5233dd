"""Why this solution: what each column costs, and what one level less would take."""

from __future__ import annotations

from dataclasses import dataclass

from .run import Result


@dataclass(frozen=True)
class ColumnExplanation:
    """One quasi-identifier of a result. `loss`: see `Result.column_loss`.

    `finer_suppressed`: rows that would be suppressed with this column one level more
    exact (None at level 0); `finer_allowed`: the limit permits it; `finer_score`: the
    score it would have then.
    """

    column: str
    level: int
    height: int
    loss: float
    finer_suppressed: int | None
    finer_allowed: bool
    finer_score: float | None


@dataclass(frozen=True)
class Explanation:
    """The facts that a page turns into sentences."""

    columns: tuple[ColumnExplanation, ...]
    most_costly: str
    suppressed: int
    limit: int
    checked: int
    lattice_size: int
    optimal: bool
    gap: float


def explain(result: Result) -> Explanation:
    """Explain a result; checks one more node a column."""
    losses = result.column_loss
    heights = result.checker.problem.heights
    columns = []
    for j, (name, level) in enumerate(result.levels.items()):
        finer = None
        if level:
            node = list(result.check.levels)
            node[j] -= 1
            finer = result.checker.check(tuple(node))
        columns.append(
            ColumnExplanation(
                column=name,
                level=level,
                height=heights[j],
                loss=losses[name],
                finer_suppressed=None if finer is None else finer.rows,
                finer_allowed=finer is not None and finer.anonymous,
                finer_score=(
                    None if finer is None or finer.score is None else finer.score.value
                ),
            )
        )
    return Explanation(
        columns=tuple(columns),
        most_costly=max(losses, key=lambda name: losses[name]),
        suppressed=result.suppressed,
        limit=result.checker.limit,
        checked=result.checked,
        lattice_size=result.lattice_size,
        optimal=result.optimal,
        gap=result.gap,
    )
