"""The first row of a CSV file: where it ends, its delimiter and its names."""

from __future__ import annotations

import codecs
import csv
import io
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv

from privacyhub.engines.tables.errors import TableError
from privacyhub.engines.tables.formats import Format
from privacyhub.engines.tables.structure import (
    ReadLimits,
    Structure,
    checked_names,
)

DELIMITERS = ",;\t|"

_BOM = codecs.BOM_UTF8
_HEADER_BYTES = 1024 * 1024
_SNIFF_ROWS = 50


def read_header(source: BinaryIO, *, limits: ReadLimits) -> Structure:
    """The structure without its rows; `TableError` where there is no header."""
    source.seek(0)
    head = source.read(_HEADER_BYTES)
    if not head.strip():
        raise TableError("The file is empty.", code="empty_file")
    has_bom = head.startswith(_BOM)
    start = len(_BOM) if has_bom else 0
    header, body_offset = _header_row(head, start=start)
    delimiter = _sniff(head[start:])
    names = checked_names(_parse_header(header, delimiter), limits=limits)
    if all(_is_number(name) for name in names):
        raise TableError(
            "The first row holds only numbers: the file has no header.",
            code="no_header",
            row=0,
        )
    return Structure(
        format=Format.CSV,
        columns=names,
        rows=0,
        delimiter=delimiter,
        has_bom=has_bom,
        body_offset=body_offset,
        limits=limits,
    )


def quote_state(line: str, in_quote: bool, *, delimiter: str | None) -> bool:
    """If a quote is open at the line's end: one opens only at the start of a cell."""
    at = 0
    while (at := line.find('"', at)) >= 0:
        if in_quote:
            if line.startswith('"', at + 1):
                at += 1
            else:
                in_quote = False
        elif at == 0 or line[at - 1] == delimiter:
            in_quote = True
        at += 1
    return in_quote


def _header_row(head: bytes, *, start: int) -> tuple[bytes, int]:
    """The first row that is not blank, and the byte after it."""
    in_quote, begin, at = False, None, start
    for line in head[start:].splitlines(keepends=True):
        if begin is None and not line.strip(b"\r\n"):
            at += len(line)
            continue
        begin = at if begin is None else begin
        at += len(line)
        text = line.decode("latin-1")
        # Whatever the delimiter is, only a quote behind one opens a cell.
        for delimiter in DELIMITERS[1:]:
            text = text.replace(delimiter, ",")
        in_quote = quote_state(text, in_quote, delimiter=",")
        if not in_quote and (
            line.endswith((b"\r", b"\n")) or len(head) < _HEADER_BYTES
        ):
            header = head[begin:at]
            _check_header_bytes(header)
            return header, at
    if in_quote and len(head) < _HEADER_BYTES:
        raise TableError(
            "The header opens a quote that is never closed.",
            code="unclosed_quote",
            row=0,
        )
    raise TableError(
        "The header is longer than the reader takes.", code="long_header", row=0
    )


def _check_header_bytes(header: bytes) -> None:
    if b"\x00" in header:
        raise TableError(
            "The header holds a NUL byte: it is not text.", code="nul_byte", row=0
        )
    try:
        header.decode()
    except UnicodeDecodeError:
        raise TableError(
            "The header holds bytes that are not UTF-8. Save the file as UTF-8.",
            code="invalid_utf8",
            row=0,
        ) from None


def _parse_header(header: bytes, delimiter: str) -> list[str]:
    """The header's cells, by the parser that reads the rows."""
    width = header.count(delimiter.encode()) + 1
    names = [f"f{place}" for place in range(width)]
    table = pacsv.read_csv(
        io.BytesIO(header.rstrip(b"\r\n") + b"\n"),
        read_options=pacsv.ReadOptions(
            autogenerate_column_names=True, block_size=2 * _HEADER_BYTES
        ),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    return [column[0].as_py() or "" for column in table.columns]


def _sniff(head: bytes) -> str:
    """The delimiter that cuts the first rows into most cells, all alike."""
    text = head[: 256 * 1024].decode(errors="replace").replace("\x00", "")
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = _widths(text, delimiter)
        if not widths or widths[0] < 2:
            continue
        alike = sum(width == widths[0] for width in widths) / len(widths)
        score = (round(alike, 1), widths[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _widths(text: str, delimiter: str) -> list[int]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    widths: list[int] = []
    try:
        for row in rows:
            if row:
                widths.append(len(row))
            if len(widths) == _SNIFF_ROWS:
                break
    except csv.Error:
        return widths
    return widths


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
