"""Row ids and fingerprints: the same rows meet, other rows do not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacyhub.engines.tables import (
    ROW_ID,
    Fingerprint,
    Format,
    RowIds,
    TypedTable,
    patient_register,
    row_digests,
    row_ids,
    to_csv,
    to_parquet,
)

KEY = b"k" * 32
FRAME = pl.DataFrame(
    {"a": [1, 2, 2, None], "b": ["x", "y", "y", None], "c": [0.5, -0.0, 0.0, None]}
)


def fingerprint(frame: pl.DataFrame, *, key: bytes = KEY) -> str:
    result = Fingerprint(key=key, columns=frame.columns)
    result.update(row_digests(frame, key=key))
    return result.hexdigest()


def test_row_ids_are_distinct_for_equal_rows() -> None:
    ids = row_ids(pl.concat([FRAME] * 5), key=KEY)
    assert ids.dtype == np.int64
    assert len(set(ids.tolist())) == 20


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xy")), min_size=1),
    cut=st.integers(1, 10),
    seed=st.integers(0, 99),
)
def test_row_ids_do_not_depend_on_order_or_batches(
    rows: list[tuple[int, str]], cut: int, seed: int
) -> None:
    frame = pl.DataFrame(rows, schema=["n", "t"], orient="row")
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed).select("t", "n")
    stream = RowIds(key=KEY, fingerprint_key=KEY)
    batches = shuffled.to_arrow().to_batches(max_chunksize=cut)
    ids = np.concatenate([stream.ids(batch) for batch in batches])
    assert sorted(ids.tolist()) == sorted(row_ids(frame, key=KEY).tolist())
    assert stream.fingerprint is not None
    assert stream.fingerprint.hexdigest() == fingerprint(frame)


def test_row_ids_stream_puts_the_id_first() -> None:
    stream = RowIds(key=KEY, fingerprint_key=b"f" * 32)
    (batch,) = stream.stream(FRAME.to_arrow().to_batches())
    assert batch.schema.names == [ROW_ID, "a", "b", "c"]
    assert batch.schema.field(0).type == pa.int64()
    again = row_ids(batch, key=KEY)
    assert again.tolist() == batch.column(0).to_pylist()
    assert stream.fingerprint is not None
    assert stream.fingerprint.hexdigest() == fingerprint(FRAME, key=b"f" * 32)


def test_row_ids_need_the_key() -> None:
    assert not set(row_ids(FRAME, key=KEY)) & set(row_ids(FRAME, key=b"o" * 32))
    assert fingerprint(FRAME) != fingerprint(FRAME, key=b"o" * 32)


def test_fingerprint_sees_values_names_and_counts() -> None:
    seen = {
        fingerprint(FRAME),
        fingerprint(FRAME.rename({"a": "z"})),
        fingerprint(FRAME.head(3)),
        fingerprint(pl.concat([FRAME, FRAME.head(1)])),
        fingerprint(FRAME.with_columns(b=pl.lit("x"))),
        fingerprint(FRAME.select(a="b", b=pl.col("a").cast(pl.String), c="c")),
    }
    assert len(seen) == 6


def test_row_digests_keep_cells_apart() -> None:
    frame = pl.DataFrame({"a": ["ab", "a", "", None], "b": ["c", "bc", "x", "x"]})
    assert len({row.tobytes() for row in row_digests(frame, key=KEY)}) == 4


def test_row_digests_meet_over_types() -> None:
    wide = pl.DataFrame(
        {"n": [1.0, 2.0], "z": [-0.0, 0.1], "d": [dt.date(2024, 1, 1)] * 2}
    )
    narrow = pl.DataFrame(
        {"n": [1, 2], "z": ["0", "0.1"], "d": [dt.date(2024, 1, 1)] * 2}
    ).with_columns(pl.col("d").cast(pl.Datetime("us")))
    assert (row_digests(wide, key=KEY) == row_digests(narrow, key=KEY)).all()


def test_row_ids_of_an_empty_table() -> None:
    assert row_ids(FRAME.head(0), key=KEY).shape == (0,)


@pytest.mark.parametrize("shuffle", [False, True])
def test_fingerprint_csv_and_parquet_meet(
    shuffle: bool, read: Callable[..., TypedTable]
) -> None:
    register = patient_register(rows=3_000)
    other = register.sample(fraction=1, shuffle=shuffle, seed=1)
    other = other.select(reversed(other.columns)) if shuffle else other
    other = other.with_columns(pl.col("hba1c").cast(pl.Float32))
    results = []
    for table in (
        read(b"".join(to_csv(register))),
        read(to_parquet(other), format=Format.PARQUET),
    ):
        stream = RowIds(key=KEY, fingerprint_key=b"f" * 32)
        ids = [batch.column(0).to_pylist() for batch in stream.stream(table.batches())]
        assert stream.fingerprint is not None
        results.append((stream.fingerprint.hexdigest(), sorted(sum(ids, []))))
    assert results[0] == results[1]


def test_fingerprint_csv_dialects_meet(
    read: Callable[..., TypedTable],
) -> None:
    texts = (b"a, b\n1, ?\n2, x\n", b'\xef\xbb\xbfb;a\r\n"x";2\r\nNA;1\r\n')
    found = set()
    for text in texts:
        table = read(text)
        result = Fingerprint(key=KEY, columns=table.schema.names)
        for batch in table.batches():
            result.update(row_digests(batch, key=KEY))
        found.add(result.hexdigest())
    assert len(found) == 1
