"""Microaggregation of quasi-identifiers within the classes of the others, as in ARX.

The column takes no part in forming classes; then all rows of a class show one value,
which is made of theirs. So the classes are the same with the column as without it:
what holds of a class without regard to the column holds for an attacker who knows it
too. Models that compare a class with rows that are not shown are another matter (see
`Model.bears_aggregates`).

Missing values are left out of what is made, as where ARX ignores missing data; their
rows show it like the others, since a cell that stayed missing would split the class. A
class without a value shows a missing one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from .errors import AnonymizeError
from .hierarchies import as_text
from .keys import Bools, Ints
from .rows import Recoding

# ARX's geometric mean is of the values plus 1, less 1, so that a 0 may occur.
_VALUE = pl.col("value")
_NUMBERS: Mapping[str, pl.Expr] = {
    "mean": _VALUE.mean(),
    "geometric_mean": _VALUE.log1p().mean().exp() - 1,
    "median": _VALUE.median(),
    "interval": pl.concat_list(_VALUE.min(), _VALUE.max()),
}
FUNCTIONS = (*_NUMBERS, "mode")


def check(series: pl.Series, *, function: str) -> None:
    """Raise AnonymizeError where a column cannot be aggregated like this."""
    if function not in FUNCTIONS:
        raise AnonymizeError(f"An aggregate must be one of {', '.join(FUNCTIONS)}.")
    if function == "mode":
        return
    if not series.dtype.is_numeric():
        raise AnonymizeError(
            f"Column {series.name} does not hold numbers: only its mode can be shown."
        )
    if function == "geometric_mean":
        low = _known(series) <= -1
        if low.any():
            raise AnonymizeError(
                f"Column {series.name}: a geometric mean needs values above -1 "
                f"({int(low.sum())} rows have others)."
            )


def aggregated(
    series: pl.Series, *, of_row: Ints, classes: int, hidden: Bools, function: str
) -> Recoding:
    """What each class shows. `of_row`: classes of the rows; hidden rows count nowhere.

    Of values that are equally frequent the mode is the least.
    """
    shown = np.flatnonzero(~hidden)
    values = series.gather(shown)
    values = as_text(values) if function == "mode" else _known(values)
    known = pl.DataFrame(
        {"class": of_row[shown], "value": values}, schema_overrides={"class": pl.Int64}
    ).filter(series.gather(shown).is_not_null() & values.is_not_null())
    labels: list[str | None] = [None] * classes
    found = (
        _modes(known, numbers=series)
        if function == "mode"
        else known.group_by("class").agg(_NUMBERS[function].alias("value"))
    )
    for place, value in found.iter_rows():
        labels[place] = _text(value)
    return Recoding(codes=of_row, labels=labels)


def spread_lost(series: pl.Series, *, groups: Ints) -> float | None:
    """The part of the variance that lies within groups, from 0 to 1.

    What no function of the groups can tell: SSE / SST of Domingo-Ferrer and
    Mateo-Sanz (2002). None for what holds no numbers.
    """
    if not series.dtype.is_numeric():
        return None
    known = pl.DataFrame({"group": groups, "value": _known(series)}).drop_nulls()
    around = known.with_columns(
        within=_VALUE - _VALUE.mean().over("group"), whole=_VALUE - _VALUE.mean()
    ).select(pl.col("within", "whole").pow(2).sum())
    within, whole = around.row(0)
    return min(within / whole, 1.0) if whole > 0 else 0.0


def _known(series: pl.Series) -> pl.Series:
    """Numbers; what is not finite is missing."""
    values = series.cast(pl.Float64)
    return values.set(~values.is_finite().fill_null(value=False), None)


def _modes(known: pl.DataFrame, *, numbers: pl.Series) -> pl.DataFrame:
    order = _VALUE.cast(pl.Float64) if numbers.dtype.is_numeric() else _VALUE
    counts = known.group_by("class", "value").len()
    first = counts.sort(pl.col("len"), order, descending=[True, False])
    return first.group_by("class", maintain_order=True).agg(_VALUE.first())


def _text(value: float | str | list[float] | None) -> str | None:
    if isinstance(value, list):
        return f"[{value[0]:.15g}, {value[1]:.15g}]"
    return f"{value:.15g}" if isinstance(value, float) else value
