"""The rows that two tables share, told from their sketches."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacyhub.engines.tables import RowIds, Shared, shared_rows
from privacyhub.engines.tables.overlap import SKETCH_IDS

KEY = b"k" * 32


def _sketch(numbers: range, *, batch: int = 10_000) -> bytes:
    ids = RowIds(key=KEY)
    for start in range(0, len(numbers), batch):
        ids.ids(pl.DataFrame({"n": list(numbers[start : start + batch])}))
    return ids.sketch.to_bytes()


@given(
    st.sets(st.integers(0, 400), min_size=1), st.sets(st.integers(0, 400), min_size=1)
)
def test_small_tables_are_compared_exactly(one: set[int], other: set[int]) -> None:
    sketches = []
    for rows in (one, other):
        ids = RowIds(key=KEY)
        ids.ids(pl.DataFrame({"n": sorted(rows)}))
        sketches.append(ids.sketch.to_bytes())
    both = len(one & other)
    assert shared_rows(*sketches) == Shared(
        seen=both, rows=both, share=both / min(len(one), len(other))
    )


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (range(60_000), range(30_000, 90_000), 30_000),
        (range(60_000), range(5_000), 5_000),
        (range(60_000), range(57_000, 63_000), 3_000),
        (range(60_000), range(60_000, 90_000), 0),
    ],
)
def test_large_tables_are_estimated(first: range, second: range, both: int) -> None:
    found = shared_rows(_sketch(first), _sketch(second))
    # Six standard deviations of a binomial sample of the rows that are shared.
    sampled = SKETCH_IDS / len(first)
    assert abs(found.rows - both) <= 6 * np.sqrt(max(both, 1) / sampled)


def test_a_sketch_does_not_see_order_batches_or_repeated_rows() -> None:
    numbers = range(9_000)
    ids = RowIds(key=KEY)
    ids.ids(pl.DataFrame({"n": [*reversed(numbers), *numbers]}))
    assert ids.sketch.to_bytes() == _sketch(numbers, batch=700)


def test_an_empty_table_shares_nothing() -> None:
    assert shared_rows(RowIds(key=KEY).sketch.to_bytes(), _sketch(range(9))).share == 0
