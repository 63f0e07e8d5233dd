"""A stored table as an upload of its own file would be typed, from Parquet or CSV.

A release that leaves as a file may come back as one. What it is known by is therefore
taken of its rows as the reader would type them: text cells lose blanks, CSV gives text
that may run as a formula an apostrophe, and a text column of numbers comes back as
numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from privacyhub.engines.tables.export import FORMULA, escape_cell
from privacyhub.engines.tables.inference import ColumnTyper, NativeTyper
from privacyhub.engines.tables.kinds import Kind
from privacyhub.engines.tables.rowids import ROW_ID


def from_parquet(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, without `ROW_ID`, as it comes back from `to_parquet`."""
    columns = {
        field.name: NativeTyper.of(field).convert(column)
        for field, column in zip(batch.schema, batch.columns, strict=True)
        if field.name != ROW_ID
    }
    return pa.RecordBatch.from_pydict(columns)


class FromCsv:
    """Batches as they come back from `to_csv`. Sees all of them before it types one."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._typers: dict[str, ColumnTyper] = {}
        for batch in batches:
            for field, column in zip(batch.schema, batch.columns, strict=True):
                if _is_text(field):
                    fresh = ColumnTyper(name=field.name)
                    typer = self._typers.setdefault(field.name, fresh)
                    typer.see(_escaped(column))

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch, without `ROW_ID`; names are escaped too."""
        columns = {}
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if field.name == ROW_ID:
                continue
            typer = self._typers.get(field.name)
            columns[escape_cell(field.name)] = (
                typer.convert(_escaped(column))
                if typer
                else NativeTyper.of(field).convert(column)
            )
        return pa.RecordBatch.from_pydict(columns)


def _is_text(field: pa.Field) -> bool:
    return field.name != ROW_ID and NativeTyper.of(field).kind is Kind.TEXT


def _escaped(column: pa.Array) -> pa.Array:
    text = column.cast(pa.string())
    risky = pc.match_substring_regex(text, FORMULA)
    quoted = pc.binary_join_element_wise(pa.scalar("'"), text, pa.scalar(""))
    return pc.if_else(risky, quoted, text)
