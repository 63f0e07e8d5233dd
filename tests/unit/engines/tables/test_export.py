"""Exports: no formula runs, no row id leaves."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest

from privacyhub.engines.tables import ROW_ID, escape_cell, to_csv, to_parquet


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_to_csv_escapes_formulas(start: str) -> None:
    frame = pl.DataFrame({f"{start}head": [f"{start}1+1", "a" + start, None]})
    rows = list(csv.reader(io.StringIO(b"".join(to_csv(frame)).decode(), newline="")))
    assert rows[0] == [f"'{start}head"]
    assert rows[1] == [f"'{start}1+1"]
    assert rows[2] == ["a" + start]
    assert escape_cell(f"{start}x") == f"'{start}x"


def test_to_csv_numbers_stay_numbers() -> None:
    frame = pl.DataFrame({ROW_ID: [7, 8], "n": [-1, 2], "f": [-0.5, None]})
    assert b"".join(to_csv(frame)) == b"n,f\n-1,-0.5\n2,\n"


def test_to_csv_categories_are_escaped_in_every_slice() -> None:
    frame = pl.DataFrame({"c": ["=a", "b"] * 60_000}).cast(pl.Categorical)
    lines = b"".join(to_csv(frame)).decode().splitlines()
    assert len(lines) == 120_001
    assert lines.count("'=a") == 60_000


def test_to_parquet_leaves_the_row_id_out() -> None:
    frame = pl.DataFrame({ROW_ID: [7], "=a": ["=1"]})
    back = pl.read_parquet(to_parquet(frame))
    assert back.to_dict(as_series=False) == {"=a": ["=1"]}
