"""Reading and writing the encrypted tables of versions.

Each function that reads takes the version and unwraps its key; callers note the
class of the read in the ledger (`dp`, `steward_only` or `uncovered_release`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pyarrow as pa
from django.db import InterfaceError, OperationalError

from privacyhub.datasets import storage
from privacyhub.datasets.models import Version
from privacyhub.engines import tables
from privacyhub.governance import keys

SLICE_ROWS = 65_536


@dataclass(frozen=True)
class Written:
    """An encrypted table on disk that no version names yet.

    Its key is stored when a version is published and not before: what a crash leaves
    behind can be read by nobody.
    """

    version_id: uuid.UUID
    file: str
    secret: bytes = field(repr=False)
    manifest: tables.Manifest
    fingerprint: str
    sketch: bytes = b""  # engines.tables.shared_rows compares two
    csv_fingerprint: str = (
        ""  # both again, as its CSV would be read, where that differs
    )
    csv_sketch: bytes = b""
    repeats: float = 0.0  # the part of the rows that have an equal one


def write(batches: Iterable[pa.RecordBatch], *, schema: pa.Schema) -> Written:
    """Write typed rows without ids: ids are given here, from the rows themselves."""
    secret = keys.identity_key("table")
    ids = tables.RowIds(key=secret, fingerprint_key=secret)
    return _write(
        ids.stream(batches), schema=tables.with_row_id(schema), fingerprints=ids
    )


def write_frame(frame: pl.DataFrame) -> Written:
    """Write a derived table that has its row ids already (`ROW_ID` first).

    It is known again when it comes back as a file: see `engines.tables.readback`.
    """
    written = _write(frame_batches(frame), schema=frame_schema(frame))
    try:
        own = _identified(map(tables.from_parquet, frame_batches(frame)))
        from_csv = tables.FromCsv(frame_batches(frame))
        if all(
            tables.same_rows(tables.from_parquet(batch), from_csv.of(batch))
            for batch in frame_batches(frame)
        ):
            csv = None
        else:
            csv = _identified(map(from_csv.of, frame_batches(frame)))
    except BaseException:
        discard(written)
        raise
    return replace(
        written,
        fingerprint=_fingerprint(own),
        sketch=_sketch(own),
        csv_fingerprint=_fingerprint(csv) if csv else "",
        csv_sketch=_sketch(csv) if csv else b"",
        repeats=own.repeats,
    )


def _identified(batches: Iterable[pa.RecordBatch]) -> tables.RowIds:
    """What tells these rows apart from others, after all of them."""
    secret = keys.identity_key("table")
    ids = tables.RowIds(key=secret, fingerprint_key=secret)
    for batch in batches:
        ids.ids(batch)
    return ids


def _fingerprint(ids: tables.RowIds) -> str:
    """Empty where an unrelated derived table may have the same rows by chance."""
    if ids.fingerprint is None or ids.distinct < tables.FEWEST_DISTINCT:
        return ""
    return ids.fingerprint.hexdigest()


def _sketch(ids: tables.RowIds) -> bytes:
    """Empty where an unrelated derived table may share rows by chance."""
    return b"" if ids.repeats > tables.MOST_REPEATED else ids.sketch.to_bytes()


def frame_schema(frame: pl.DataFrame) -> pa.Schema:
    """The schema that a frame is stored with."""
    schema = frame.head(0).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return pa.schema(
        [_plain(one.with_nullable(one.name != tables.ROW_ID)) for one in schema]
    )


def frame_batches(frame: pl.DataFrame) -> Iterator[pa.RecordBatch]:
    """A frame as it is stored, slice by slice: columns of codes become text there."""
    schema = frame_schema(frame)
    for part in frame.iter_slices(SLICE_ROWS):
        table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
        yield from table.cast(schema).combine_chunks().to_batches()


def _plain(one: pa.Field) -> pa.Field:
    """Polars writes large strings and categoricals; the store keeps plain ones."""
    kind = one.type
    if pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return one.with_type(pa.string())
    return one


def _write(
    batches: Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema,
    fingerprints: tables.RowIds | None = None,
) -> Written:
    version_id = uuid.uuid4()
    secret = tables.new_key()
    file = storage.new_name("tables", "parquet")
    manifest = tables.write_table(
        storage.path_of(file), batches, schema=schema, key=secret, aad=str(version_id)
    )
    found = fingerprints.fingerprint if fingerprints else None
    return Written(
        version_id=version_id,
        file=file,
        secret=secret,
        manifest=manifest,
        fingerprint=found.hexdigest() if found else "",
        sketch=fingerprints.sketch.to_bytes() if fingerprints else b"",
        repeats=fingerprints.repeats if fingerprints else 0.0,
    )


def discard(written: Written) -> None:
    """Undo `write` when its version was not published."""
    storage.remove(written.file)


@contextmanager
def publishing(written: Written) -> Iterator[None]:
    """Discard the table when the block fails for good.

    After an outage or a deadlock the block runs once more, and needs the file.
    """
    try:
        yield
    except (OperationalError, InterfaceError):
        raise
    except BaseException:
        discard(written)
        raise


def _where(version: Version) -> dict[str, Any]:
    return {
        "path": storage.path_of(version.file),
        "key": keys.unwrap(version.key),
        "aad": str(version.pk),
        "sha256": version.sha256,
    }


def load(version: Version, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The version's rows, `ROW_ID` included unless `columns` leaves it out."""
    return tables.read_stored(columns=columns, **_where(version))


def batches(
    version: Version, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The version's rows a batch at a time, for tables larger than memory."""
    return tables.iter_batches(columns=columns, **_where(version))


def profile(version: Version) -> dict[str, Any]:
    """The steward's profile: it holds values of the data."""
    return keys.unseal_json(
        bytes(version.sealed_profile), key=version.key, context=str(version.pk)
    )
