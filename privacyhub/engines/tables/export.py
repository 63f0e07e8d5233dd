"""Tables on their way out: CSV that no spreadsheet executes, and Parquet.

A text cell or a header that starts with `=`, `+`, `-`, `@`, tab or carriage return
would run as a formula; it gets a leading apostrophe (OWASP, "CSV Injection"). Numbers
stay numbers. The hidden row id never leaves.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import polars as pl

from privacyhub.engines.tables.rowids import ROW_ID

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""First characters that a spreadsheet may run, full-width forms included."""

_SLICE_ROWS = 50_000
FORMULA = "^[" + "".join(FORMULA_STARTS).replace("-", r"\-") + "]"
"""The same as a pattern."""


def to_csv(frame: pl.DataFrame) -> Iterator[bytes]:
    """UTF-8 CSV in pieces, header first."""
    visible = _visible(frame)
    names = [escape_cell(name) for name in visible.columns]
    header = pl.DataFrame({name: [] for name in names}, schema=names)
    yield header.write_csv().encode()
    for part in visible.iter_slices(_SLICE_ROWS):
        if part.height:
            yield _escaped(part).write_csv(include_header=False).encode()


def to_parquet(frame: pl.DataFrame) -> bytes:
    """The table as one Parquet file, not encrypted: it is a download."""
    buffer = io.BytesIO()
    _visible(frame).write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def escape_cell(text: str) -> str:
    """One text cell as `to_csv` writes it.

    >>> escape_cell("=1+1")
    "'=1+1"
    >>> escape_cell("plain")
    'plain'
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _visible(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(ROW_ID, strict=False)


def _escaped(frame: pl.DataFrame) -> pl.DataFrame:
    texts = [
        pl.col(name).cast(pl.String)
        for name, data_type in frame.schema.items()
        if data_type in (pl.String, pl.Categorical, pl.Enum)
    ]
    return frame.with_columns(
        pl.when(text.str.contains(FORMULA))
        .then(pl.lit("'") + text)
        .otherwise(text)
        .alias(text.meta.output_name())
        for text in texts
    )
