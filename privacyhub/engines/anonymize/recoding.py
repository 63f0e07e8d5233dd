"""From a chosen node back to the rows: which are suppressed, and what they show."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from .classes import Classes
from .encoding import Problem
from .hierarchies import MISSING, ROOT
from .keys import Bools


def suppressed_rows(classes: Classes, suppressed: Bools) -> Bools:
    """Which rows show nothing: those of failing classes and those of no subset."""
    of_row = classes.of_row
    rows: Bools = np.append(suppressed, True)[of_row]  # -1: suppressed before
    if classes.problem.subset is not None:
        rows = rows | ~classes.problem.subset
    return rows


def recode(
    frame: pl.DataFrame,
    *,
    problem: Problem,
    levels: Mapping[str, int],
    hidden: Bools,
) -> pl.DataFrame:
    """The table at these levels; quasi-identifiers become strings.

    Rows keep their order and the other columns stay. Hidden rows show `*` in every
    quasi-identifier; a missing value that is not generalized stays missing.
    """
    new = []
    for column, rows in zip(problem.columns, problem.row_codes, strict=True):
        level = levels[column.name]
        labels: list[str | None] = list(column.labels[level])
        if level == 0:
            labels = [None if label == MISSING else label for label in labels]
        codes = column.maps[level][rows]
        codes = np.where(hidden, len(labels), codes)
        shown = pl.Series([*labels, ROOT], dtype=pl.String)
        new.append(shown.gather(codes).alias(column.name))
    return frame.with_columns(new)
