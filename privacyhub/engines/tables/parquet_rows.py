"""Parquet uploads: flat, unencrypted, and bounded once unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacyhub.engines.tables.errors import TableError
from privacyhub.engines.tables.formats import Format
from privacyhub.engines.tables.structure import (
    ReadLimits,
    Structure,
    checked_names,
)

_BATCH_ROWS = 65_536
_BATCH_BYTES = 64 * 1024 * 1024
_THRIFT_BYTES = 64 * 1024 * 1024
_THRIFT_ITEMS = 1_000_000


def check_parquet(source: BinaryIO, *, limits: ReadLimits) -> Structure:
    """Footer, types and size first, then one pass that decodes every page."""
    with _opened(source) as file:
        schema = file.schema_arrow
        names = checked_names(schema.names, limits=limits)
        for place, field in enumerate(schema, start=1):
            _check_type(field.type, place=place, name=names[place - 1])
        metadata = file.metadata
        if metadata.num_rows == 0:
            raise TableError("The file has columns and no rows.", code="no_rows")
        if metadata.num_rows > limits.max_rows:
            raise TableError(
                f"The table has more than {limits.max_rows:,} rows.",
                code="too_many_rows",
            )
        groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
        if sum(group.total_byte_size for group in groups) > limits.max_decoded_bytes:
            raise _too_large()
    structure = Structure(
        format=Format.PARQUET, columns=names, rows=metadata.num_rows, limits=limits
    )
    rows = sum(
        batch.num_rows for batch in _encoded_batches(source, structure=structure)
    )
    if rows != structure.rows:
        raise _corrupt()
    return structure


def parquet_batches(
    source: BinaryIO, *, structure: Structure
) -> Iterator[pa.RecordBatch]:
    """The rows in their own types, dictionaries unpacked, a batch of bounded size."""
    for batch in _encoded_batches(source, structure=structure):
        rows = max(1, batch.num_rows * _BATCH_BYTES // max(1, _decoded_bytes(batch)))
        for start in range(0, batch.num_rows, rows):
            yield _unpacked(batch.slice(start, rows))


def _encoded_batches(
    source: BinaryIO, *, structure: Structure
) -> Iterator[pa.RecordBatch]:
    """Batches whose texts stay dictionaries: one long value repeated stays small."""
    total = 0
    with _opened(source, keep_dictionaries=True) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            total += _decoded_bytes(batch)
            if total > structure.limits.max_decoded_bytes:
                raise _too_large()
            yield batch.rename_columns(list(structure.columns))


@contextmanager
def _opened(
    source: BinaryIO, *, keep_dictionaries: bool = False
) -> Iterator[pq.ParquetFile]:
    """The file under limits; Arrow's complaints, which may quote data, are reworded."""
    source.seek(0)
    # PythonFile would close a source that is not ours.
    options = {
        "thrift_string_size_limit": _THRIFT_BYTES,
        "thrift_container_size_limit": _THRIFT_ITEMS,
    }
    handle = pa.PythonFile(source, mode="r")
    try:
        file = pq.ParquetFile(handle, **options)
        if keep_dictionaries:
            texts = [f.name for f in file.schema_arrow if _is_text(f.type)]
            file = pq.ParquetFile(handle, read_dictionary=texts, **options)
        yield file
    except TableError:
        raise
    except (pa.ArrowException, OSError, OverflowError) as error:
        if "ncrypt" in str(error):
            raise TableError(
                "The Parquet file is encrypted. Upload it decrypted.",
                code="encrypted_parquet",
            ) from None
        raise _corrupt() from None


def _check_type(data_type: pa.DataType, *, place: int, name: str) -> None:
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    taken = (
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_date,
        pa.types.is_timestamp,
        pa.types.is_time,
        pa.types.is_null,
        _is_text,
    )
    if any(test(data_type) for test in taken):
        return
    what = "nested values" if pa.types.is_nested(data_type) else "bytes"
    raise TableError(
        f'Column {place} ("{name}") holds {what}, which a table cannot.',
        code="unsupported_type",
        column=name,
    )


def _is_text(data_type: pa.DataType) -> bool:
    return (
        pa.types.is_string(data_type)
        or pa.types.is_large_string(data_type)
        or pa.types.is_string_view(data_type)
    )


def _decoded_bytes(batch: pa.RecordBatch) -> int:
    """How large the batch is with its dictionaries unpacked."""
    total = 0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.take(
                pc.binary_length(column.dictionary.cast(pa.large_string())),
                column.indices,
            )
            total += (pc.sum(lengths).as_py() or 0) + 8 * len(column)
        else:
            total += column.nbytes
    return total


def _unpacked(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        column.cast(column.type.value_type)
        if pa.types.is_dictionary(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _corrupt() -> TableError:
    return TableError(
        "The Parquet file is damaged and cannot be read.", code="corrupt_parquet"
    )


def _too_large() -> TableError:
    return TableError("The table is too large once unpacked.", code="too_large")
