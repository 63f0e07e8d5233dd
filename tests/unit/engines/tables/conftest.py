"""Files and keys that the tests of tables share."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from privacyhub.engines.tables import Format, TypedTable, check_structure, read_table


@pytest.fixture(scope="session")
def adult_path(shared_data: Path) -> Path:
    return shared_data / "adult_uci" / "adult_train.csv"


@pytest.fixture
def read() -> Callable[..., TypedTable]:
    """Reads bytes as the hub reads a file."""

    def _read(data: bytes, *, format: Format = Format.CSV) -> TypedTable:
        source = io.BytesIO(data)
        structure = check_structure(source, format=format)
        return read_table(source, format=format, structure=structure)

    return _read
