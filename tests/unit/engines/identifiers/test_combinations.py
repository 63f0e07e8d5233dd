"""Uniqueness, distinction, separation: against counting by hand and brute force."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacyhub.engines.identifiers import distinction_and_separation, uniqueness

ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["x", "y", None])), min_size=2
)


@settings(max_examples=50, deadline=None)
@given(rows=ROWS, k=st.integers(1, 6))
def test_uniqueness_matches_brute_force(
    rows: list[tuple[int, str | None]], k: int
) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    sizes = Counter(rows)
    found = uniqueness(frame, ["a", "b"])
    assert found.classes == len(sizes)
    assert found.unique_rows == sum(size == 1 for size in sizes.values())
    assert found.smallest_class == min(sizes.values())
    assert found.rows_below(k) == sum(size for size in sizes.values() if size < k)
    assert dict(found.size_counts) == Counter(sizes.values())


@settings(max_examples=50, deadline=None)
@given(rows=ROWS)
def test_separation_matches_brute_force(rows: list[tuple[int, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    pairs = list(combinations(rows, 2))
    *_, both = distinction_and_separation(frame, ["a", "b"], largest=2)
    assert both.columns == ("a", "b")
    assert both.distinction == pytest.approx(len(set(rows)) / len(rows))
    differing = sum(one != other for one, other in pairs)
    assert both.separation == pytest.approx(differing / len(pairs))


def test_uniqueness_without_columns_or_rows() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3]})
    assert uniqueness(frame, []).smallest_class == 3
    empty = uniqueness(frame.head(0), ["a"])
    assert (empty.unique_share, empty.average_class, empty.smallest_class) == (0, 0, 0)
    assert distinction_and_separation(frame.head(0), ["a"])[0].separation == 0


def test_distinction_lists_sets_by_size() -> None:
    frame = pl.DataFrame({"a": [1, 1], "b": [1, 2], "c": [3, 3]})
    found = distinction_and_separation(frame, ["a", "b", "c"], largest=2)
    assert [len(one.columns) for one in found] == [1, 1, 1, 2, 2, 2]
    assert distinction_and_separation(frame, ["a"], largest=3)[0].distinction == 0.5


@pytest.mark.parametrize("kind", [pl.String, pl.Categorical, pl.Enum(["*", "x", "y"])])
def test_a_suppressed_row_stands_not_alone(kind: pl.DataType) -> None:
    cells = {"a": ["x", "x", "y", "y", "*"], "b": ["x", "x", None, None, "*"]}
    frame = pl.DataFrame(cells, schema={"a": kind, "b": kind})
    found = uniqueness(frame, ["a", "b"])
    assert (found.rows, found.classes, found.unique_rows) == (4, 2, 0)
    assert found.smallest_class == 2
    a, b, _ = distinction_and_separation(frame, ["a", "b"], largest=2)
    assert (a.distinction, b.distinction) == (0.5, 0.5)
    assert a.separation == pytest.approx(2 / 3)


def test_a_row_that_shows_something_is_kept() -> None:
    frame = pl.DataFrame({"a": ["*", "x"], "n": [1, 1]})
    assert uniqueness(frame, ["a", "n"]).rows == 2
    assert uniqueness(frame.with_columns(a=pl.lit("*")), ["a"]).rows == 0
