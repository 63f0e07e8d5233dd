"""Which format an upload has: its name and its first bytes must agree."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath

from privacyhub.engines.tables.errors import TableError

HEAD_BYTES = 4096
"""How much of a file `detect_format` wants to see."""


class Format(StrEnum):
    """The formats that can be read."""

    CSV = "csv"
    PARQUET = "parquet"


_EXTENSIONS = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".txt": Format.CSV,
    ".data": Format.CSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}

_PARQUET_MAGIC = b"PAR1"

# First bytes -> what such a file is called, and what to do about it.
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"PARE", "an encrypted Parquet file. Upload it decrypted"),
    (b"PK\x03\x04", "a ZIP or Excel file. Save the table as CSV or Parquet"),
    (b"PK\x05\x06", "a ZIP or Excel file. Save the table as CSV or Parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file. Save the table as CSV or Parquet"),
    (b"\x1f\x8b", "a gzip file. Unpack it first"),
    (b"BZh", "a bzip2 file. Unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file. Unpack it first"),
    (b"(\xb5/\xfd", "a Zstandard file. Unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip file. Unpack it first"),
    (b"Rar!", "a RAR file. Unpack it first"),
    (b"%PDF", "a PDF file. Save the table as CSV or Parquet"),
    (b"SQLite format 3\x00", "a SQLite file. Save the table as CSV or Parquet"),
    (b"\x89HDF", "an HDF5 file. Save the table as CSV or Parquet"),
    (b"ARROW1", "an Arrow file. Save the table as CSV or Parquet"),
    (b"ORC", "an ORC file. Save the table as CSV or Parquet"),
    (b"Obj\x01", "an Avro file. Save the table as CSV or Parquet"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


def detect_format(*, filename: str, head: bytes) -> Format:
    """The format of an upload from its name and first `HEAD_BYTES` bytes.

    `TableError` when the two disagree or the content is of a kind that is not read.
    """
    extension = PurePosixPath(filename).suffix.lower()
    if not head:
        raise TableError("The file is empty.", code="empty_file")
    content = _content(head)
    claimed = _EXTENSIONS.get(extension)
    if claimed is None:
        raise TableError(
            "The file's name must end in .csv, .tsv or .parquet.",
            code="unknown_extension",
        )
    if claimed is not content:
        names = {Format.CSV: "CSV", Format.PARQUET: "Parquet"}
        raise TableError(
            f"The file's name says {names[claimed]}, its content is "
            f"{'text' if content is Format.CSV else 'Parquet'}.",
            code="format_mismatch",
        )
    return claimed


def _content(head: bytes) -> Format:
    if head.startswith(_PARQUET_MAGIC):
        return Format.PARQUET
    for magic, name in _FOREIGN:
        # Words of a header may start like a magic: "ORC" alone does not prove one.
        if head.startswith(magic) and not (magic.isalnum() and _is_text(head)):
            raise TableError(f"This is {name}.", code="unsupported_format")
    if head.startswith(_UTF16) or _looks_utf16(head):
        raise TableError(
            "The file is UTF-16 or UTF-32 text. Save it as UTF-8.", code="utf16"
        )
    if head.startswith(_PICKLES):
        raise TableError(
            "This is a Python pickle, which is never opened. "
            "Save the table as CSV or Parquet.",
            code="unsupported_format",
        )
    return Format.CSV


def _is_text(head: bytes) -> bool:
    return b"\x00" not in head and (b"\n" in head or b"\r" in head)


def _looks_utf16(head: bytes) -> bool:
    """Every second byte NUL: mostly Latin text in UTF-16 without its mark."""
    even, odd = head[0::2], head[1::2]
    return len(head) >= 4 and any(
        half.count(0) > 0.7 * len(half) and other.count(0) < 0.1 * len(other)
        for half, other in ((even, odd), (odd, even))
    )
