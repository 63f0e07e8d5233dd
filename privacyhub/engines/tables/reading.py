"""Reading a table file: its structure first, then its typed rows, batch by batch.

    structure = check_structure(file, format=Format.CSV)
    table = read_table(file, format=Format.CSV, structure=structure)
    write_table(path, table.batches(), schema=table.schema, key=key, aad=version_id)

`check_structure` refuses with a `TableError` whatever cannot be read whole. After it,
preview, profile and training see the same rows, because one parser serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from privacyhub.engines.tables.checks import Check
from privacyhub.engines.tables.csv_rows import check_csv, csv_batches
from privacyhub.engines.tables.errors import TableError
from privacyhub.engines.tables.formats import Format
from privacyhub.engines.tables.inference import ColumnTyper, NativeTyper
from privacyhub.engines.tables.kinds import ARROW_TYPES, Kind
from privacyhub.engines.tables.parquet_rows import check_parquet, parquet_batches
from privacyhub.engines.tables.structure import ReadLimits, Structure


@dataclass(frozen=True, kw_only=True)
class TypedColumn:
    """One column as it will be stored."""

    name: str
    kind: Kind
    missing: int


@dataclass(frozen=True, kw_only=True)
class TypedTable:
    """A table whose columns' kinds are known; its rows are still in the file."""

    source: BinaryIO
    structure: Structure
    typers: tuple[ColumnTyper | NativeTyper, ...]

    @property
    def rows(self) -> int:
        return self.structure.rows

    @property
    def columns(self) -> tuple[TypedColumn, ...]:
        return tuple(
            TypedColumn(name=typer.name, kind=typer.kind, missing=typer.missing)
            for typer in self.typers
        )

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [(typer.name, ARROW_TYPES[typer.kind]) for typer in self.typers]
        )

    @property
    def checks(self) -> list[Check]:
        return [check for typer in self.typers for check in typer.checks()]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The typed rows from the start; may be called again when it has ended."""
        schema = self.schema
        for batch in _raw_batches(self.source, structure=self.structure):
            columns = [
                typer.convert(column)
                for typer, column in zip(self.typers, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def check_structure(
    source: BinaryIO, *, format: Format, limits: ReadLimits | None = None
) -> Structure:
    """One pass over a seekable file; memory is bounded by a block.

    `TableError` for what makes a table unreadable: empty, header only, duplicate or
    empty names, ragged rows, bytes that are not UTF-8, unclosed quotes, damaged or
    nested Parquet, or more than the limits allow.
    """
    limits = limits or ReadLimits()
    if format is Format.CSV:
        return check_csv(source, limits=limits)
    return check_parquet(source, limits=limits)


def read_table(source: BinaryIO, *, format: Format, structure: Structure) -> TypedTable:
    """The typed table: one pass decides the kinds, `batches` makes another."""
    if format is not structure.format:
        raise ValueError("The structure was found in a file of another format.")
    typers: list[ColumnTyper | NativeTyper] = []
    rows = 0
    for batch in _raw_batches(source, structure=structure):
        if not typers:
            typers = [_typer(field, format=format) for field in batch.schema]
        for typer, column in zip(typers, batch.columns, strict=True):
            typer.see(column)
        rows += batch.num_rows
    if rows != structure.rows:
        raise TableError("The file changed while it was read.", code="file_changed")
    return TypedTable(source=source, structure=structure, typers=tuple(typers))


def _raw_batches(source: BinaryIO, *, structure: Structure) -> Iterator[pa.RecordBatch]:
    if structure.format is Format.CSV:
        return csv_batches(source, structure=structure)
    return parquet_batches(source, structure=structure)


def _typer(field: pa.Field, *, format: Format) -> ColumnTyper | NativeTyper:
    if format is Format.CSV:
        return ColumnTyper(name=field.name)
    return NativeTyper.of(field)
