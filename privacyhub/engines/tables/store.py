"""The file format of a stored version: encrypted Parquet with a manifest.

Each file has a fresh random 256-bit key of its own (`new_key`), which encrypts footer
and columns with AES-GCM; the caller wraps that key. The version's id is the AAD prefix
and is not stored in the file, so a file put in another version's place does not open.
The SHA-256 of the ciphertext is in the manifest and is verified before a file is read.

Parquet modular encryption:
https://github.com/apache/parquet-format/blob/master/Encryption.md
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from privacyhub.engines.tables.durable import Writing
from privacyhub.engines.tables.kinds import kind_of

KEY_BYTES = 32
BATCH_ROWS = 65_536

_ROW_GROUP_ROWS = 262_144


class StoreError(ValueError):
    """A stored file is missing, was changed, or does not open with this key and id."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of a stored file without opening it."""

    rows: int
    bytes: int
    sha256: str
    columns: tuple[tuple[str, str], ...]
    """Name and kind of each column, in order, hidden ones included."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"columns": [list(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Manifest:
        columns = tuple((name, kind) for name, kind in data["columns"])
        return cls(**(data | {"columns": columns}))


def new_key() -> bytes:
    """A fresh key for one file."""
    return secrets.token_bytes(KEY_BYTES)


def write_table(
    path: Path,
    batches: Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema,
    key: bytes,
    aad: str,
) -> Manifest:
    """Writes the encrypted file under a temporary name, syncs it, then renames it.

    Either `path` is there whole or, after an exception, nothing of it is. Memory is
    bounded by a row group. A `key` must never be used for a second file.
    """
    _check_key(key)
    properties = pe.create_encryption_properties(
        key, aad_prefix=aad.encode(), store_aad_prefix=False
    )
    with Writing(path) as raw:
        rows = _write_batches(raw, batches, schema=schema, properties=properties)
        raw.flush()
        size = raw.tell()
        digest = file_sha256(Path(raw.name))
    columns = tuple((field.name, kind_of(field.type).value) for field in schema)
    return Manifest(rows=rows, bytes=size, sha256=digest, columns=columns)


def read_table(
    path: Path,
    *,
    key: bytes,
    aad: str,
    sha256: str | None,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The whole table, or the named columns of it in that order, in Polars.

    `sha256` is the manifest's; None skips that check (each page is authenticated
    still).
    """
    with _opened(path, key=key, aad=aad, sha256=sha256) as file:
        table = file.read(columns=_present(file, columns))
        if columns is not None:
            table = table.select(list(columns))
        frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):  # pragma: no cover - a table is a frame
        raise StoreError("The stored file holds no table.")
    return frame


def iter_batches(
    path: Path,
    *,
    key: bytes,
    aad: str,
    sha256: str | None,
    columns: Sequence[str] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """The table batch by batch, at most `batch_rows` rows each, in the stored order."""
    with _opened(path, key=key, aad=aad, sha256=sha256) as file:
        names = _present(file, columns)
        for batch in file.iter_batches(batch_size=batch_rows, columns=names):
            yield batch if columns is None else batch.select(list(columns))


def read_schema(path: Path, *, key: bytes, aad: str) -> pa.Schema:
    """Names and types of the columns, from the file's authenticated footer."""
    with _opened(path, key=key, aad=aad, sha256=None) as file:
        return file.schema_arrow


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest()


def _write_batches(
    raw: BinaryIO,
    batches: Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema,
    properties: Any,
) -> int:
    """Collects batches into row groups: many small ones would read slowly."""
    rows, held, held_rows = 0, [], 0
    with pq.ParquetWriter(
        raw, schema, compression="zstd", encryption_properties=properties
    ) as writer:
        for batch in batches:
            held.append(batch)
            held_rows += batch.num_rows
            rows += batch.num_rows
            if held_rows >= _ROW_GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(held, schema=schema))
                held, held_rows = [], 0
        if held:
            writer.write_table(pa.Table.from_batches(held, schema=schema))
    return rows


@contextmanager
def _opened(
    path: Path, *, key: bytes, aad: str, sha256: str | None
) -> Iterator[pq.ParquetFile]:
    """The decrypting file; what goes wrong inside is a `StoreError`, or MemoryError.

    Hash and read use one open descriptor, so the file cannot be swapped in between.
    """
    _check_key(key)
    try:
        with path.open("rb") as raw:
            if sha256 is not None:
                actual = hashlib.file_digest(raw, "sha256").hexdigest()
                if not secrets.compare_digest(actual, sha256):
                    raise StoreError("The stored file differs from its manifest.")
                raw.seek(0)
            properties = pe.create_decryption_properties(key, aad_prefix=aad.encode())
            with pq.ParquetFile(raw, decryption_properties=properties) as file:
                yield file
    except MemoryError:  # pyarrow's is an ArrowException too, and tells nothing of it
        raise
    except FileNotFoundError as error:
        raise StoreError("The stored file is missing.") from error
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            "The stored file was changed or does not open with this key."
        ) from error


def _present(file: pq.ParquetFile, columns: Sequence[str] | None) -> list[str] | None:
    if columns is None:
        return None
    stored = set(file.schema_arrow.names)
    for name in columns:
        if name not in stored:
            raise StoreError(f'The stored file has no column "{name}".')
    return list(columns)


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"A key has {KEY_BYTES} bytes.")
