"""Tables as codes, batch by batch, give what the same table as text gives."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import rows
from tests.unit.engines.anonymize import brute_force as bf


def _batches(frame: pl.DataFrame, size: int) -> list[pl.DataFrame]:
    return list(frame.iter_slices(size))


def test_compact_keeps_values_order_and_missing_cells() -> None:
    frame = pl.DataFrame(
        {
            "text": ["b", None, "a", "c", "b", ""],
            "number": [1, 2, None, 4, 5, 6],
            "kept": ["x", "y", "z", None, "x", "y"],
        }
    )
    found = an.compact(_batches(frame, 2), plain=["kept"])
    assert isinstance(found.schema["text"], pl.Enum)
    assert found.schema["kept"] == pl.String
    assert found.with_columns(pl.col("text").cast(pl.String)).equals(frame)


def test_compact_leaves_columns_of_too_many_values_as_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "MOST_VALUES", 300)
    frame = pl.DataFrame(
        {
            "many": [f"v{i % 301}" for i in range(700)],
            "some": [f"v{i % 299}" for i in range(700)],
        }
    )
    found = an.compact(_batches(frame, 100))
    assert found.schema["many"] == pl.String
    assert isinstance(found.schema["some"], pl.Enum)
    assert found.select(pl.all().cast(pl.String)).equals(frame)


def test_codes_give_the_same_result_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SLICE_ROWS", 7)
    frame, hierarchies = bf.random_table(
        np.random.default_rng(4), rows=40, heights=(2, 2, 1)
    )
    asked = {
        "quasi_identifiers": hierarchies,
        "models": [an.KAnonymity(3), an.DistinctLDiversity("s", 2)],
        "suppression_limit": 0.3,
    }
    text = an.anonymize(frame, **asked)
    codes = an.anonymize(an.compact(_batches(frame, 9)), **asked)
    assert codes.levels == text.levels
    assert codes.score == text.score
    assert [len(part) for part in codes.slices()] == [7, 7, 7, 7, 7, 5]
    assert isinstance(codes.frame.schema["q0"], pl.Enum)
    assert codes.frame.select(pl.all().cast(pl.String)).equals(text.frame)


def test_missing_values_and_numbers_become_codes() -> None:
    text, numbers, flags = rows.factorize_columns(
        [
            pl.Series(["b", None, "a", "b"]),
            pl.Series([30, 10, 30, 20]),
            pl.Series([True, None, False, True]),
        ]
    )
    assert (text.codes.tolist(), text.values.to_list()) == (
        [1, 2, 0, 1],
        ["a", "b", None],
    )
    assert (numbers.codes.tolist(), numbers.values.to_list()) == (
        [2, 0, 2, 1],
        [10, 20, 30],
    )
    assert [flags.values[code] for code in flags.codes.tolist()] == [
        "true",
        "",
        "false",
        "true",
    ]


def test_groups_count_rows_and_the_population() -> None:
    table = an.FrameRows(pl.DataFrame({"a": ["x", "x", "y", "y"]}))
    (column,) = table.code(["a"])
    found = table.group(
        [column.codes], sizes=[2], counted=np.array([True, False, False, True])
    )
    assert found.codes[0].tolist() == [0, 1]
    assert (found.rows.tolist(), found.population.tolist()) == ([1, 1], [2, 2])
