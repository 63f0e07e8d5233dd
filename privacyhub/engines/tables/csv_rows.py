"""The one CSV parser: Arrow's streaming reader behind a tap that checks the bytes.

`check_csv` and `csv_batches` parse with the same options, so that whatever was counted
and checked is what is previewed, typed and trained on.
"""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv

from privacyhub.engines.tables.csv_header import quote_state, read_header
from privacyhub.engines.tables.errors import TableError
from privacyhub.engines.tables.structure import ReadLimits, Structure

_PIECE = 1024 * 1024


def check_csv(source: BinaryIO, *, limits: ReadLimits) -> Structure:
    """One pass over the bytes: dialect, header, rows; `TableError` names the row."""
    return _with_rows(source, read_header(source, limits=limits))


def csv_batches(source: BinaryIO, *, structure: Structure) -> Iterator[pa.RecordBatch]:
    """The data rows as text, under the structure's names, cells as they stand."""
    names = list(structure.columns)
    tap = _Tap(source, offset=structure.body_offset)
    with _parsing(tap):
        reader = _open(tap, structure=structure, first_column_only=False)
        for batch in reader:
            if batch.num_rows:
                yield batch.rename_columns(names)


class _Tap:
    """Hands the body's bytes to the parser; checks them for NUL and UTF-8 if asked.

    The parser reads ahead in a thread of its own, hence the lock: after `stop` no read
    touches the source, whose position is free again.
    """

    def __init__(
        self, source: BinaryIO, *, offset: int, checking: bool = False
    ) -> None:
        source.seek(offset)
        self._source = source
        self._checking = checking
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._lock = threading.Lock()
        self._stopped = False
        self._position = offset
        self.closed = False
        self.quotes = 0
        self.problem: tuple[str, int] | None = None

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            if self._stopped:
                return b""
            data = self._source.read(size)
            if self._checking:
                self._check(data)
            self._position += len(data)
            return b"" if self.problem else data

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def stop(self) -> None:
        with self._lock:
            self._stopped = True

    def _check(self, data: bytes) -> None:
        self.quotes += data.count(b'"')
        nul = data.find(b"\x00")
        if nul >= 0:
            self._fail("nul_byte", self._position + nul)
            return
        waiting = len(self._decoder.getstate()[0])
        if data.isascii() and not waiting and data:
            return
        try:
            self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            self._fail("invalid_utf8", self._position - waiting + error.start)

    def _fail(self, code: str, offset: int) -> None:
        self.problem = (code, offset)
        self._stopped = True


class _RaggedRow:
    """Arrow's handler for rows of another width: keeps the first one's number."""

    def __init__(self, tap: _Tap) -> None:
        self._tap = tap
        self.row: int | None = None
        self.cells = 0

    def __call__(self, row: Any) -> str:
        if self.row is None:
            self.row, self.cells = row.number or 0, row.actual_columns
            self._tap.stop()
        return "skip"


def _with_rows(source: BinaryIO, structure: Structure) -> Structure:
    tap = _Tap(source, offset=structure.body_offset, checking=True)
    ragged = _RaggedRow(tap)
    rows = 0
    failure: TableError | None = None
    try:
        with _parsing(tap):
            for batch in _open(
                tap, structure=structure, first_column_only=True, ragged=ragged
            ):
                rows += batch.num_rows
                if rows > structure.limits.max_rows:
                    tap.stop()
                    raise TableError(
                        f"The table has more than {structure.limits.max_rows:,} rows.",
                        code="too_many_rows",
                    )
    except TableError as error:
        failure = error
    _raise_problem(source, structure, tap=tap)
    if ragged.row is not None or failure is not None or tap.quotes % 2:
        _raise_open_quote(source, structure)
    if ragged.row is not None:
        raise TableError(
            f"Row {ragged.row} has {_cells(ragged.cells)}, "
            f"the header has {len(structure.columns)}.",
            code="ragged_row",
            row=ragged.row,
        )
    if failure is not None:
        raise failure
    if rows == 0:
        raise TableError("The file has a header and no rows.", code="no_rows")
    return replace(structure, rows=rows)


def _open(
    tap: _Tap,
    *,
    structure: Structure,
    first_column_only: bool,
    ragged: _RaggedRow | None = None,
) -> Any:
    """Arrow's reader over the body: every column text, no token is null here."""
    names = [f"c{place}" for place in range(len(structure.columns))]
    types = dict.fromkeys(names, pa.string())
    return pacsv.open_csv(
        pa.PythonFile(tap, mode="r"),
        read_options=pacsv.ReadOptions(
            column_names=names,
            block_size=structure.limits.max_row_bytes,
            # Rows are numbered only when they are parsed one after the other.
            use_threads=ragged is None,
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=structure.delimiter or ",",
            newlines_in_values=True,
            invalid_row_handler=ragged,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=types,
            strings_can_be_null=False,
            null_values=[],
            include_columns=names[:1] if first_column_only else None,
            check_utf8=ragged is None,
        ),
    )


@contextmanager
def _parsing(tap: _Tap) -> Iterator[None]:
    """Arrow's complaints, which quote cells, become errors that do not."""
    try:
        yield
    except pa.ArrowInvalid as error:
        text = str(error)
        if "Empty CSV" in text:
            return
        if "straddling" in text:
            raise TableError(
                "A row is longer than the reader takes.", code="row_too_long"
            ) from None
        raise TableError("The file cannot be read as CSV.", code="bad_csv") from None
    finally:
        tap.stop()


def _raise_problem(source: BinaryIO, structure: Structure, *, tap: _Tap) -> None:
    if tap.problem is None:
        return
    code, offset = tap.problem
    row, _ = _scan(source, structure, stop=offset)
    what = {
        "nul_byte": "holds a NUL byte: it is not text",
        "invalid_utf8": "holds bytes that are not UTF-8. Save the file as UTF-8",
    }[code]
    raise TableError(f"Row {row} {what}.", code=code, row=row)


def _raise_open_quote(source: BinaryIO, structure: Structure) -> None:
    row, is_open = _scan(source, structure, stop=None)
    if is_open:
        raise TableError(
            f"Row {row} opens a quote that is never closed.",
            code="unclosed_quote",
            row=row,
        )


def _scan(
    source: BinaryIO, structure: Structure, *, stop: int | None
) -> tuple[int, bool]:
    """The row at byte `stop` (or one at the end), and if a quote is open there.

    Line by line in Python: it runs only to word an error.
    """
    source.seek(structure.body_offset)
    # Latin-1 keeps a byte a character; newline="" splits at every ending and keeps it.
    text = io.TextIOWrapper(
        io.BufferedReader(_Borrowed(source)), encoding="latin-1", newline=""
    )
    position, row, in_quote, continued = structure.body_offset, 0, False, False
    while line := text.readline(_PIECE):
        if not in_quote and not continued and line.strip("\r\n"):
            row += 1
        if '"' in line:
            in_quote = quote_state(line, in_quote, delimiter=structure.delimiter)
        continued = not line.endswith(("\r", "\n"))
        position += len(line)
        if stop is not None and position > stop:
            break
    return row, in_quote


class _Borrowed(io.RawIOBase):
    """Reads from a source without ever closing it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
