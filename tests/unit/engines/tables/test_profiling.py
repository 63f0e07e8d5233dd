"""Profiles: exact where they say so, and JSON-able."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from privacyhub.engines.tables import TableProfile, profile, target_checks
from privacyhub.engines.tables import profiling as module

RANDOM = np.random.default_rng(5)
N = 3_000
FRAME = pl.DataFrame(
    {
        "__row_id": np.arange(N),
        "number": RANDOM.normal(5, 2, N),
        "integer": RANDOM.integers(-50, 50, N),
        "text": RANDOM.choice(["x", "yy", "zzz"], N, p=[0.5, 0.3, 0.2]),
        "key": [f"k{place}" for place in range(N)],
        "day": [dt.date(2000, 1, 1) + dt.timedelta(days=k % 100) for k in range(N)],
        "moment": [
            dt.datetime(2000, 1, 1) + dt.timedelta(hours=k)  # noqa: DTZ001
            for k in range(N)
        ],
        "flag": [k % 3 == 0 for k in range(N)],
        "one": ["same"] * N,
        "none": pl.Series([None] * N, dtype=pl.String),
        "rare": ["only"] + ["many", "often"] * (N // 2 - 1) + ["many"],
    }
).with_columns(number=pl.when(pl.int_range(N) % 10 > 0).then(pl.col("number")))


def profiled(frame: pl.DataFrame = FRAME, *, chunk: int = 700) -> TableProfile:
    table = frame.to_arrow()
    return profile(table.to_batches(max_chunksize=chunk), schema=table.schema)


def test_profile_numbers_match_polars() -> None:
    column = profiled().column("number")
    values = FRAME["number"].drop_nulls()
    assert column.missing == 300
    assert column.mean == pytest.approx(values.mean())
    assert column.std == pytest.approx(values.std(ddof=0))
    assert (column.minimum, column.maximum) == (values.min(), values.max())
    assert column.quantiles["0.5"] == pytest.approx(values.median(), abs=0.01)
    assert sum(column.histogram["counts"]) == 2_700
    assert len(column.histogram["edges"]) == 21


def test_profile_texts_dates_and_flags() -> None:
    table = profiled()
    text = table.column("text")
    counts = FRAME["text"].value_counts(sort=True).rows()
    assert text.classes == counts == text.top
    assert text.text_lengths is not None
    assert (text.text_lengths["minimum"], text.text_lengths["maximum"]) == (1, 3)
    day = table.column("day")
    assert (day.minimum, day.maximum, day.distinct) == ("2000-01-01", "2000-04-09", 100)
    assert table.column("moment").minimum == "2000-01-01T00:00:00"
    assert table.column("flag").classes == [(False, 2_000), (True, 1_000)]
    assert table.column("key").distinct == N
    assert [column.name for column in table.columns] == FRAME.columns[1:]


def test_profile_checks() -> None:
    found = {(check.code, check.column) for check in profiled().checks}
    assert found == {
        ("mostly_unique", "key"),
        ("constant", "one"),
        ("all_missing", "none"),
        ("rare_class", "rare"),
    }


def test_profile_survives_json() -> None:
    table = profiled()
    assert TableProfile.from_dict(json.loads(json.dumps(table.to_dict()))) == table


def test_profile_of_a_large_table_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_ROWS", 200)
    monkeypatch.setattr(module, "DISTINCT_CAP", 500)
    table = profiled()
    assert table.sampled
    assert sum(table.column("integer").histogram["counts"]) == 200
    key = table.column("key")
    assert key.distinct_capped
    assert key.unique_share == 1.0
    assert table.column("number").mean == pytest.approx(FRAME["number"].mean())


def test_target_checks() -> None:
    table = profiled()
    codes = {
        name: [check.code for check in target_checks(table.column(name))]
        for name in ("text", "one", "rare", "key")
    }
    assert codes == {
        "text": [],
        "one": ["one_class"],
        "rare": ["rare_class"],
        "key": ["many_classes"],
    }


def test_profile_of_huge_numbers_has_no_infinite_moment() -> None:
    schema = pa.schema([("x", pa.float64())])
    batches = [
        pa.RecordBatch.from_arrays([pa.array(values)], schema=schema)
        for values in ([1e300, -1e300, 1.0], [1e308, 1e308, 2.0])
    ]
    column = profile(batches, schema=schema).column("x")
    assert (column.minimum, column.maximum) == (-1e300, 1e308)
    assert column.std is None
    json.dumps(column.quantiles, allow_nan=False)
    json.dumps(column.histogram, allow_nan=False)
