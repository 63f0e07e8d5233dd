"""Files and keys that the tests of tables share."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from privacyhub.engines.tables import Format, TypedTable, check_structure, read_table

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
KEY = bytes(range(32))


@pytest.fixture(scope="session")
def adult_path() -> Path:
    path = DATA / "adult_uci" / "adult_train.csv"
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("the UCI Adult file is missing")
        pytest.skip("the UCI Adult file is missing")
    return path


@pytest.fixture
def read() -> Callable[..., TypedTable]:
    """Reads bytes as the hub reads a file."""

    def _read(data: bytes, *, format: Format = Format.CSV) -> TypedTable:
        source = io.BytesIO(data)
        structure = check_structure(source, format=format)
        return read_table(source, format=format, structure=structure)

    return _read


def frame_of(table: TypedTable) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_batches(table.batches(), schema=table.schema))
    assert isinstance(frame, pl.DataFrame)
    return frame
