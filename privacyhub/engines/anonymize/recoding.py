"""From a chosen node back to the rows: which are suppressed, and what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from .classes import Classes
from .encoding import Problem
from .hierarchies import MISSING
from .keys import Bools
from .rows import Recoding, Rows


def suppressed_rows(classes: Classes, suppressed: Bools) -> Bools:
    """Which rows show nothing: those of failing classes and those of no subset."""
    of_row = classes.of_row
    rows: Bools = np.append(suppressed, True)[of_row]  # -1: suppressed before
    if classes.problem.subset is not None:
        rows = rows | ~classes.problem.subset
    return rows


def recode(
    rows: Rows,
    *,
    problem: Problem,
    levels: Mapping[str, int],
    hidden: Bools,
    aggregated: Mapping[str, Recoding],
) -> Iterator[pl.DataFrame]:
    """The table at these levels, in slices; quasi-identifiers become strings.

    Rows keep their order and the other columns stay. Hidden rows show `*` in every
    quasi-identifier; a missing value that is not generalized stays missing.
    `aggregated`: what the rows show of columns that are not generalized.
    """
    columns = dict(aggregated)
    for column, codes in zip(problem.columns, problem.row_codes, strict=True):
        level = levels[column.name]
        labels: Sequence[str | None] = column.labels[level]
        if level == 0:
            labels = [None if label == MISSING else label for label in labels]
        shown = [labels[code] for code in column.maps[level]]
        columns[column.name] = Recoding(codes=codes, labels=shown)
    return rows.map(columns, hidden=hidden)
