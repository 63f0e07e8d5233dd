"""The encrypted store: whole or not there, and nobody's but its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacyhub.engines.tables import (
    Manifest,
    StoreError,
    iter_batches,
    new_key,
    read_schema,
    read_stored,
    write_table,
)

FRAME = pl.DataFrame(
    {"a": [1, 2, None], "b": ["CANARY-5513", "y", None], "c": [0.5, None, -1.0]}
)


def stored(path: Path, *, key: bytes, aad: str = "version-1") -> Manifest:
    table = FRAME.to_arrow()
    return write_table(path, table.to_batches(), schema=table.schema, key=key, aad=aad)


def test_store_round_trip(tmp_path: Path) -> None:
    path, key = tmp_path / "t.parquet", new_key()
    manifest = stored(path, key=key)
    assert manifest.rows == 3
    assert manifest.bytes == path.stat().st_size
    assert manifest.columns == (("a", "integer"), ("b", "text"), ("c", "number"))
    assert Manifest.from_dict(manifest.to_dict()) == manifest
    frame = read_stored(path, key=key, aad="version-1", sha256=manifest.sha256)
    assert frame.equals(FRAME)
    some = read_stored(
        path, key=key, aad="version-1", sha256=manifest.sha256, columns=["c", "a"]
    )
    assert some.columns == ["c", "a"]
    batches = iter_batches(
        path, key=key, aad="version-1", sha256=manifest.sha256, batch_rows=2
    )
    assert [batch.num_rows for batch in batches] == [2, 1]
    assert read_schema(path, key=key, aad="version-1").names == ["a", "b", "c"]
    assert [one.name for one in tmp_path.iterdir()] == ["t.parquet"]


def test_store_holds_no_plaintext(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    stored(path, key=new_key())
    blob = path.read_bytes()
    assert b"CANARY-5513" not in blob
    assert b"version-1" not in blob
    assert blob.startswith(b"PARE")


def test_store_tampering_is_refused(tmp_path: Path) -> None:
    path, key = tmp_path / "t.parquet", new_key()
    manifest = stored(path, key=key)
    whole = path.read_bytes()
    for at in range(4, len(whole), 7):
        blob = bytearray(whole)
        blob[at] ^= 1
        path.write_bytes(bytes(blob))
        with pytest.raises(StoreError):
            read_stored(path, key=key, aad="version-1", sha256=manifest.sha256)
    path.write_bytes(whole[:-9])
    with pytest.raises(StoreError):
        read_stored(path, key=key, aad="version-1", sha256=None)


def test_store_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path, key = tmp_path / "t.parquet", new_key()
    manifest = stored(path, key=key)
    with pytest.raises(StoreError):
        read_stored(path, key=key, aad="version-2", sha256=manifest.sha256)
    with pytest.raises(StoreError):
        read_stored(path, key=new_key(), aad="version-1", sha256=manifest.sha256)


def test_store_other_ciphertext_than_the_manifest_is_refused(tmp_path: Path) -> None:
    """A copy sealed anew under the same key and id is authentic, and not the one."""
    path, key = tmp_path / "t.parquet", new_key()
    manifest = stored(path, key=key)
    stored(path, key=key)
    with pytest.raises(StoreError):
        read_stored(path, key=key, aad="version-1", sha256=manifest.sha256)


def test_store_plaintext_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    FRAME.write_parquet(path)
    with pytest.raises(StoreError):
        read_stored(path, key=new_key(), aad="version-1", sha256=None)


def test_store_missing_file_or_column_is_refused(tmp_path: Path) -> None:
    path, key = tmp_path / "t.parquet", new_key()
    with pytest.raises(StoreError):
        read_stored(path, key=key, aad="version-1", sha256=None)
    stored(path, key=key)
    with pytest.raises(StoreError):
        read_stored(path, key=key, aad="version-1", sha256=None, columns=["nope"])


def test_store_want_of_memory_is_not_told_as_a_changed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 8 failed")

    path, key = tmp_path / "t.parquet", new_key()
    stored(path, key=key)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", full)
    with pytest.raises(MemoryError):
        list(iter_batches(path, key=key, aad="version-1", sha256=None))


def test_store_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield FRAME.to_arrow().to_batches()[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_table(
            tmp_path / "t.parquet",
            broken(),
            schema=FRAME.to_arrow().schema,
            key=new_key(),
            aad="v",
        )
    assert list(tmp_path.iterdir()) == []
