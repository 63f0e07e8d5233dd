"""What a table costs that was recoded round by round, over all of its rows.

For metrics of the columns the costs of the rows are summed over the rounds, a hidden
row costing as much as one that says nothing, and normalized and aggregated once.
Metrics of the classes score the classes of the final table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .classes import Classes
from .encoding import Column, Problem, Sensitive
from .hierarchies import as_text
from .keys import Ints
from .lattice import Levels
from .metrics_columns import ColumnScorer
from .rows import FrameRows, factorize
from .run import Result


@dataclass(frozen=True)
class Round:
    """The levels of a round, and the numbers of the rows that it shows."""

    levels: Levels
    rows: Ints


def score(first: Result, shown: Sequence[Round]) -> float:
    """The metric's figure of the final table. `first`: the first round's result."""
    scorer, problem = first.checker.scorer, first.checker.problem
    if isinstance(scorer, ColumnScorer):
        costs = np.array(_costs(scorer, problem, shown))
        return scorer.aggregate.score(costs).value
    classes = Classes(
        problem=_final(first, shown), levels=(0,) * len(first.request.quasi_identifiers)
    )
    suppressed = np.zeros(len(classes), dtype=bool)
    suppressed[classes.of_row[_hidden(problem, shown)]] = True
    return scorer.score(classes, suppressed).value


def column_loss(first: Result, shown: Sequence[Round]) -> dict[str, float]:
    """The cost of each column over the final table."""
    costs = _costs(first.column_scorer, first.checker.problem, shown)
    return dict(zip(first.columns, costs, strict=True))


def _costs(
    scorer: ColumnScorer, problem: Problem, shown: Sequence[Round]
) -> list[float]:
    hidden = _hidden(problem, shown)
    out = []
    for j, (column, codes) in enumerate(
        zip(problem.columns, problem.row_codes, strict=True)
    ):
        size = column.sizes[0]
        rest = np.bincount(codes[hidden], minlength=size)
        total = float(rest @ scorer.hidden_costs(j))
        for one in shown:
            counts = np.bincount(codes[one.rows], minlength=size)
            total += float(counts @ scorer.row_costs(j, one.levels[j]))
        out.append(scorer.normalized(total, j))
    return out


def _hidden(problem: Problem, shown: Sequence[Round]) -> Ints:
    """The numbers of the rows that no round shows."""
    left = np.ones(problem.rows, dtype=bool)
    for one in shown:
        left[one.rows] = False
    return np.flatnonzero(left)


def _final(first: Result, shown: Sequence[Round]) -> Problem:
    """The final table, its labels as values; the hidden rows have one of their own."""
    problem, frame = first.checker.problem, first.request.frame
    columns, codes = [], []
    for j in range(len(problem.columns)):
        column, labelled = _labelled(problem, j, shown)
        columns.append(column)
        codes.append(labelled)
    named = {name: factorize(frame[name]) for name in first.request.metric.responses}
    sizes = [column.sizes[0] for column in columns]
    sizes += [len(values) for _, values in named.values()]
    grouped = FrameRows(frame).group(
        [*codes, *(values for values, _ in named.values())], sizes=sizes
    )
    return Problem(
        columns=tuple(columns),
        codes=tuple(grouped.codes[: len(columns)]),
        weights=grouped.rows,
        population=grouped.population,
        sensitive={
            name: Sensitive(
                name=name,
                codes=own,
                row_codes=of_rows,
                labels=tuple(as_text(values).to_list()),
            )
            for (name, (of_rows, values)), own in zip(
                named.items(), grouped.codes[len(columns) :], strict=True
            )
        },
        rows=problem.rows,
        row_codes=tuple(codes),
    )


def _labelled(problem: Problem, j: int, shown: Sequence[Round]) -> tuple[Column, Ints]:
    """A column whose only level are the labels that the rounds show."""
    column, codes = problem.columns[j], problem.row_codes[j]
    place: dict[str, int] = {}
    shares = [1.0]  # code 0: hidden
    out: Ints = np.zeros(problem.rows, dtype=np.int64)
    for one in shown:
        level = one.levels[j]
        for label, share in zip(
            column.labels[level], column.level_shares[level], strict=True
        ):
            if label not in place:
                place[label] = len(shares)
                shares.append(float(share))
        table = np.array([place[label] for label in column.labels[level]])
        out[one.rows] = table[column.maps[level]][codes[one.rows]]
    final = Column(
        name=column.name,
        hierarchy=column.hierarchy,
        maps=(np.arange(len(shares)),),
        sizes=(len(shares),),
        labels=((column.hierarchy.root, *place),),
        shares=(np.array(shares),),
    )
    return final, out
