"""Stable row ids and the fingerprint of a table.

Both rest on one keyed BLAKE2b digest a row, over the canonical row: cells as text in
the order of the columns' names, each behind its length. Numbers are written in their
shortest decimal form, so CSV and Parquet of the same rows meet whatever types they
chose.

- The id of a row is the head of its digest; of equal rows the second and later ones
  hash their occurrence number in. The same rows in any order have the same set of ids,
  hence a row keeps its id, and with it its side of the train and held-out split, in
  every version.
- The fingerprint is the sum of the digests mod 2^256, with the names hashed in: it does
  not see order. Bellare and Micciancio, "A new paradigm for collision-free hashing"
  (EUROCRYPT 1997), call it AdHash; under a secret key nobody outside can aim at it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from privacyhub.engines.tables.overlap import Sketch

ROW_ID = "__row_id"
"""The hidden first column (int64) of every stored version."""

_DIGEST_BYTES = 32


def row_digests(
    batch: pa.RecordBatch | pa.Table | pl.DataFrame,
    *,
    key: bytes,
    columns: Sequence[str] | None = None,
) -> np.ndarray:
    """Keyed BLAKE2b-256 of each canonical row, shape (rows, 32), uint8.

    `columns` are the columns that make the row; by default all but `ROW_ID`.
    """
    return _digests(_canonical_rows(batch, columns), key=key)


def _digests(rows: pa.Array, *, key: bytes) -> np.ndarray:
    start = hashlib.blake2b(key=key, digest_size=_DIGEST_BYTES, person=b"ph-row")
    out = bytearray()
    for row in _views(rows):
        state = start.copy()
        state.update(row)
        out += state.digest()
    return np.frombuffer(bytes(out), dtype=np.uint8).reshape(-1, _DIGEST_BYTES)


def _canonical_rows(
    batch: pa.RecordBatch | pa.Table | pl.DataFrame, columns: Sequence[str] | None
) -> pa.Array:
    """One binary cell a row: its canonical cells in the order of the columns' names."""
    names = _row_columns(_names(batch), columns)
    if isinstance(batch, pl.DataFrame):
        batch = batch.select(names).to_arrow()
    if batch.num_rows == 0:
        return pa.array([], pa.large_binary())
    parts: list[pa.Array] = []
    for name in names:
        parts.extend(_canonical(batch.column(name)))
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))


def row_ids(
    batch: pa.RecordBatch | pa.Table | pl.DataFrame,
    *,
    key: bytes,
    columns: Sequence[str] | None = None,
) -> np.ndarray:
    """Ids of a whole table at once, int64, shape (rows,). For a stream: `RowIds`."""
    return RowIds(key=key, columns=columns).ids(batch)


class Fingerprint:
    """The order-insensitive keyed fingerprint of a table, fed with `row_digests`."""

    def __init__(self, *, key: bytes, columns: Iterable[str]) -> None:
        self._key = key
        self._names = sorted(name for name in columns if name != ROW_ID)
        self._sum = 0
        self.rows = 0

    def update(self, digests: np.ndarray) -> None:
        words = np.ascontiguousarray(digests).view("<u4")
        # 32-bit words in 64-bit sums cannot overflow below 2^32 rows a call.
        totals = words.sum(axis=0, dtype=np.uint64)
        for place, total in enumerate(totals):
            self._sum += int(total) << (32 * place)
        self._sum %= 1 << (8 * _DIGEST_BYTES)
        self.rows += len(digests)

    def hexdigest(self) -> str:
        mac = hmac.new(self._key, b"ph-table", hashlib.sha256)
        mac.update(self._sum.to_bytes(_DIGEST_BYTES, "little"))
        mac.update(struct.pack("<QQ", self.rows, len(self._names)))
        for name in self._names:
            encoded = name.encode()
            mac.update(struct.pack("<I", len(encoded)) + encoded)
        return mac.hexdigest()


class RowIds:
    """Gives ids to a stream of batches and fingerprints it on the way.

    It remembers 16 bytes a distinct row: equal rows may lie any distance apart.
    `fingerprint` is there when `fingerprint_key` was given: the ids' key belongs to a
    family, the fingerprint's to the instance, so that it finds a table of another
    family. `sketch` tells which other tables share rows with this one.
    """

    def __init__(
        self,
        *,
        key: bytes,
        columns: Sequence[str] | None = None,
        fingerprint_key: bytes | None = None,
    ) -> None:
        self._key = key
        self._columns = columns
        self._fingerprint_key = fingerprint_key
        self._seen = _Occurrences()
        self.sketch = Sketch()
        self.fingerprint: Fingerprint | None = None
        self.distinct = 0
        self._rows = 0
        self._twice = 0  # distinct rows that came more than once

    @property
    def repeats(self) -> float:
        """The part of the rows that have an equal one, 0 to 1."""
        return 1 - (self.distinct - self._twice) / self._rows if self._rows else 0.0

    def ids(self, batch: pa.RecordBatch | pa.Table | pl.DataFrame) -> np.ndarray:
        """Ids of the next rows of the table, int64, shape (rows,)."""
        rows = _canonical_rows(batch, self._columns)
        digests = _digests(rows, key=self._key)
        key = self._fingerprint_key
        if key is not None:
            if self.fingerprint is None:
                names = _row_columns(_names(batch), self._columns)
                self.fingerprint = Fingerprint(key=key, columns=names)
            same = key == self._key
            self.fingerprint.update(digests if same else _digests(rows, key=key))
        ids = digests[:, :8].copy().view("<i8").ravel()
        occurrences = self._seen.count(ids)
        self._rows += len(ids)
        self.distinct += int(np.count_nonzero(occurrences == 0))
        self._twice += int(np.count_nonzero(occurrences == 1))
        self.sketch.add(ids[occurrences == 0])
        for row in np.flatnonzero(occurrences):
            again = hashlib.blake2b(key=self._key, digest_size=8, person=b"ph-again")
            again.update(digests[row].tobytes())
            again.update(struct.pack("<Q", int(occurrences[row])))
            ids[row] = int.from_bytes(again.digest(), "little", signed=True)
        return ids

    def add(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with `ROW_ID` as its first column."""
        ids = pa.array(self.ids(batch), type=pa.int64())
        return pa.RecordBatch.from_arrays(
            [ids, *batch.columns], schema=with_row_id(batch.schema)
        )

    def stream(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Every batch with its ids."""
        for batch in batches:
            yield self.add(batch)


def same_rows(one: pa.RecordBatch, other: pa.RecordBatch) -> bool:
    """Whether both hold the same rows in the same order, as ids and fingerprint see."""
    if sorted(one.schema.names) != sorted(other.schema.names):
        return False
    return _canonical_rows(one, None).equals(_canonical_rows(other, None))


def with_row_id(schema: pa.Schema) -> pa.Schema:
    """The schema of a stored version: `ROW_ID` before the table's own columns."""
    return pa.schema([pa.field(ROW_ID, pa.int64(), nullable=False), *schema])


class _Occurrences:
    """How often each 64-bit number came before: sorted runs, merged as they grow."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def count(self, numbers: np.ndarray) -> np.ndarray:
        """For each number, how often it came before it, then remembers them all."""
        values, inverse, counts = np.unique(
            numbers, return_inverse=True, return_counts=True
        )
        before = np.zeros(len(values), dtype=np.int64)
        for known, totals in self._runs:
            at = np.minimum(np.searchsorted(known, values), len(known) - 1)
            before += np.where(known[at] == values, totals[at], 0)
        # Rank within the batch: the position in a stable sort, from the group's start.
        order = np.argsort(inverse, kind="stable")
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        rank = np.empty(len(numbers), dtype=np.int64)
        rank[order] = np.arange(len(numbers)) - starts
        result = before[inverse] + rank
        if len(values):
            self._remember(values, counts)
        return result

    def _remember(self, values: np.ndarray, counts: np.ndarray) -> None:
        while self._runs and len(self._runs[-1][0]) < 2 * len(values):
            known, totals = self._runs.pop()
            every = np.concatenate([known, values])
            order = np.argsort(every, kind="stable")
            every, weights = every[order], np.concatenate([totals, counts])[order]
            first = np.flatnonzero(np.r_[True, every[1:] != every[:-1]])
            values, counts = every[first], np.add.reduceat(weights, first)
        self._runs.append((values, counts))


def _canonical(column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """The column as two binary columns: lengths (4 bytes each) and texts."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = _without_negative_zero(column)
    text = column.cast(pa.large_string())
    if pa.types.is_timestamp(column.type):
        # A date of one file may be a midnight in the other.
        text = pc.replace_substring_regex(text, r" 00:00:00(\.0+)?$", "")
    text = text.cast(pa.large_binary())
    lengths = pc.binary_length(text).cast(pa.uint32())
    lengths = pc.fill_null(lengths, 2**32 - 1)
    fixed = pa.Array.from_buffers(
        pa.binary(4), len(lengths), [None, lengths.buffers()[1]], offset=lengths.offset
    )
    return fixed.cast(pa.large_binary()), pc.fill_null(text, b"")


def _without_negative_zero(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(column, 0.0), pa.scalar(0.0, column.type), column)


def _views(joined: pa.Array) -> Iterator[memoryview]:
    offsets = np.frombuffer(joined.buffers()[1], dtype=np.int64)
    offsets = offsets[joined.offset : joined.offset + len(joined) + 1]
    if not len(joined):
        return
    data = memoryview(joined.buffers()[2])
    bounds = offsets.tolist()
    for start, end in zip(bounds, bounds[1:], strict=False):
        yield data[start:end]


def _names(batch: pa.RecordBatch | pa.Table | pl.DataFrame) -> list[str]:
    return batch.columns if isinstance(batch, pl.DataFrame) else batch.schema.names


def _row_columns(present: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    chosen = present if columns is None else columns
    return sorted(name for name in chosen if name != ROW_ID)
