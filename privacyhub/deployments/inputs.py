"""Rows that people send for prediction, checked against what the model reads.

A message names row and column and never a value. A column that is left out, or empty,
counts as missing: the model has a place of its own for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from privacyhub.datasets.errors import DataError
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.prepare.encoding import ColumnSpec, written_out

MOST_ROWS = 1_000
_TYPES: dict[str, Any] = {
    "number": pl.Float64,
    "date": pl.Date,
    "boolean": pl.Boolean,
    "category": pl.String,
}
_WANTED = {
    "number": "a number",
    "date": "a date like 2024-05-31",
    "boolean": "true or false",
    "category": "a text",
}
_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}


def frame_of(*, model: TrainedModel, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows with the model's columns, typed. Raises DataError naming row, column."""
    columns = columns_of(model)
    if not rows:
        raise DataError("Send one row at least.", code="no_rows")
    if len(rows) > MOST_ROWS:
        raise DataError(
            f"At most {MOST_ROWS} rows a request; send a file for more.",
            code="too_many_rows",
        )
    known = {column.name for column in columns}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise DataError(f"Row {number} must be an object.", row=number)
        unknown = next((name for name in row if name not in known), None)
        if unknown is not None:
            raise DataError(
                f"Row {number}: the model reads no column “{unknown}”.",
                code="unknown_column",
                row=number,
                column=str(unknown),
            )
    return pl.DataFrame(
        {column.name: _cells(rows, column) for column in columns},
        schema={column.name: _TYPES[column.kind] for column in columns},
    )


def frame_of_table(*, model: TrainedModel, table: pl.DataFrame) -> pl.DataFrame:
    """A file's rows with the model's columns; others are left out, absent are empty.

    Raises DataError when the file has none of the columns, or one of another kind.
    """
    columns = columns_of(model)
    if not any(column.name in table.columns for column in columns):
        raise DataError(
            "The file has none of the columns that the model reads.", code="no_column"
        )
    return table.select(
        _fitted(table, column)
        if column.name in table.columns
        else pl.lit(None, dtype=_TYPES[column.kind]).alias(column.name)
        for column in columns
    )


def columns_of(model: TrainedModel) -> tuple[ColumnSpec, ...]:
    """The columns that the model reads, in their order."""
    if model.encoder is None:
        raise ValueError("The model has no encoder.")
    return model.encoder.columns


def _cells(rows: Sequence[Mapping[str, Any]], column: ColumnSpec) -> list[Any]:
    read = _READERS[column.kind]
    cells: list[Any] = []
    for number, row in enumerate(rows, start=1):
        value = row.get(column.name)
        if value is None or (isinstance(value, str) and not value.strip()):
            cells.append(None)
            continue
        try:
            cells.append(read(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise _wrong_type(number, column) from error
    return cells


def _wrong_type(row: int, column: ColumnSpec) -> DataError:
    return DataError(
        f"Row {row}, column “{column.name}”: {_WANTED[column.kind]} is expected.",
        code="wrong_type",
        row=row,
        column=column.name,
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    return number if math.isfinite(number) else None


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if not isinstance(value, str):
        raise TypeError
    return date.fromisoformat(value.strip()[:10])


def _boolean(value: Any) -> bool:
    text = str(value).strip().lower()
    if isinstance(value, float) or text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise TypeError
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # as it is written where the model learnt it
    return str(value).strip() if not isinstance(value, bool) else str(value).lower()


_READERS: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "date": _date,
    "boolean": _boolean,
    "category": _text,
}


def _fitted(table: pl.DataFrame, column: ColumnSpec) -> pl.Expr:
    """The table's column as the model's kind; a cell that does not fit is an error."""
    series = table[column.name]
    wanted = _TYPES[column.kind]
    if column.kind == "boolean":
        texts = written_out(series).str.strip_chars().str.to_lowercase()
        marks = {name: True for name in _TRUE} | {name: False for name in _FALSE}
        fitted = texts.replace_strict(marks, default=None, return_dtype=pl.Boolean)
    elif column.kind == "date" and series.dtype == pl.String:
        fitted = series.str.strip_chars().str.to_date(strict=False)
    elif column.kind == "category":
        fitted = written_out(series)
    else:
        fitted = series.cast(wanted, strict=False)
    held = series.fill_nan(None) if series.dtype.is_float() else series
    bad = (fitted.is_null() & held.is_not_null()).arg_true()
    if len(bad):
        raise _wrong_type(int(bad[0]) + 1, column)
    return pl.lit(fitted).alias(column.name)
