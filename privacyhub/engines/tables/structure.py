"""What is fixed of a file before its cells are typed: columns, rows, dialect."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from privacyhub.engines.tables.errors import TableError
from privacyhub.engines.tables.formats import Format
from privacyhub.engines.tables.rowids import ROW_ID

MISSING_TOKENS = ("", "?", "NA", "N/A", "n/a", "null", "NULL", "NaN", "nan")
"""Cells that mean "not known", after surrounding blanks are stripped."""


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """What a file may ask of the reader."""

    max_columns: int = 2_000
    max_rows: int = 100_000_000
    max_name_length: int = 200
    max_row_bytes: int = 4 * 1024 * 1024
    max_decoded_bytes: int = 16 * 1024**3
    """A file's cells unpacked: a small Parquet file can unpack to any size."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What `check_structure` found; `read_table` reads by it."""

    format: Format
    columns: tuple[str, ...]
    rows: int
    delimiter: str | None = None
    has_bom: bool = False
    body_offset: int = 0
    """The byte at which a CSV file's first data row starts."""
    limits: ReadLimits = ReadLimits()


def checked_names(names: Sequence[str], *, limits: ReadLimits) -> tuple[str, ...]:
    """The columns' names without surrounding blanks, or `TableError`.

    A file without a header has values where the names are: errors name positions.
    """
    if len(names) > limits.max_columns:
        raise TableError(
            f"The table has {len(names):,} columns; "
            f"at most {limits.max_columns:,} are read.",
            code="too_many_columns",
            row=0,
        )
    seen: dict[str, int] = {}
    for place, raw in enumerate(names, start=1):
        name = raw.strip()
        if not name:
            raise _name_error(place, "has no name", code="empty_header")
        if len(name) > limits.max_name_length:
            raise _name_error(
                place,
                f"has a name of more than {limits.max_name_length} characters",
                code="long_header",
            )
        if any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in name):
            raise _name_error(
                place, "has control characters in its name", code="bad_header"
            )
        if name == ROW_ID:
            raise _name_error(place, "has a reserved name", code="reserved_header")
        if name in seen:
            raise TableError(
                f"Columns {seen[name]} and {place} have the same name.",
                code="duplicate_header",
                row=0,
            )
        seen[name] = place
    return tuple(seen)


def _name_error(place: int, what: str, *, code: str) -> TableError:
    return TableError(f"Column {place} {what}.", code=code, row=0)
