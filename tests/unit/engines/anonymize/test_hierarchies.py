from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from privacyhub.engines.anonymize import AnonymizeError, Hierarchy

CSV = "1;1-2;*\n2;1-2;*\n3;3-4;*\n4;3-4;*\n"


def test_read_csv_text_round_trips() -> None:
    hierarchy = Hierarchy.from_csv(CSV)
    assert hierarchy.height == 2
    assert hierarchy.to_csv() == CSV
    assert hierarchy.generalize("3", level=1) == "3-4"


def test_read_csv_path(tmp_path) -> None:
    path = tmp_path / "h.csv"
    path.write_text(CSV, encoding="utf-8")
    assert Hierarchy.read_csv(path) == Hierarchy.read_csv(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1;a;*\n1;a;*\n", "Rows 1 and 2 place the same value"),
        ("1;a;*\n2;*\n", "Row 2 has 2 levels, row 1 has 3"),
        ("1;a;*\n2;b;x\n", "Row 2: the last level must be one label"),
        ("1;a;b;*\n2;a;c;*\n", "Row 2, level 1"),
        ("\n", "empty"),
    ],
)
def test_import_rejects(text: str, message: str) -> None:
    with pytest.raises(AnonymizeError, match=message):
        Hierarchy.from_csv(text)


def test_check_counts_rows_of_missing_values_without_naming_them() -> None:
    problems = Hierarchy.from_csv(CSV).check(["1", "9", None, "9", "*"])
    assert [(p.value, p.rows, p.first_row) for p in problems] == [
        ("9", 2, 2),
        ("", 1, 3),
    ]
    assert all("9" not in p.message for p in problems)


def test_edits_keep_the_table_valid() -> None:
    hierarchy = Hierarchy.from_csv(CSV)
    assert hierarchy.with_missing_values(["1", ""]).generalize("", level=1) == "*"
    assert hierarchy.with_value("5", path=["5-6", "*"]).values[-1] == "5"
    assert hierarchy.without_level(1).height == 1
    assert hierarchy.with_label(level=1, old="1-2", new="low").labels(1) == (
        "low",
        "3-4",
    )
    wider = hierarchy.with_level(2, labels={"1-2": "1-4", "3-4": "1-4"})
    assert wider.levels[0] == ("1", "1-2", "1-4", "*")
    with pytest.raises(AnonymizeError):
        hierarchy.with_value("5", path=["1-2", "other"])


def test_intervals_nest_and_keep_missing_apart() -> None:
    hierarchy = Hierarchy.intervals([17, 20, 24, 90, None], widths=[5, 10, 20])
    assert hierarchy.levels[0] == ("17", "15-19", "10-19", "0-19", "*")
    assert hierarchy.generalize("", level=1) == "missing"
    with pytest.raises(AnonymizeError, match="whole multiple"):
        Hierarchy.intervals([1], widths=[4, 6])
    with pytest.raises(AnonymizeError, match="Value 2"):
        Hierarchy.intervals(["1", "x"], widths=[5])


def test_intervals_bounds_and_snapping() -> None:
    values = [0, 17, 18, 21, 88, 89, 95]
    hierarchy = Hierarchy.intervals(values, widths=[5, 10], bottom=18, top=90, snap=0.5)
    labels = {row[0]: row[1] for row in hierarchy.levels}
    assert labels["17"] == "<18"
    assert labels["95"] == ">=90"
    # 18-19 is narrower than half an interval, so it is joined to 20-24.
    assert labels["18"] == labels["21"] == "18-24"
    assert labels["89"] == "85-89"


def test_dates_by_unit() -> None:
    hierarchy = Hierarchy.dates(
        ["2021-05-04"], units=("month", "quarter", "year", "decade", "century")
    )
    assert hierarchy.levels[0][1:] == (
        "2021-05",
        "2021-Q2",
        "2021",
        "2020-2029",
        "2000-2099",
        "*",
    )
    with pytest.raises(AnonymizeError, match="this order"):
        Hierarchy.dates(["2021-05-04"], units=("year", "month"))


def test_masking_from_either_side() -> None:
    right = Hierarchy.masking(["1234", "12"], side="right")
    assert right.levels[0] == ("1234", "123*", "12**", "1***", "*")
    assert right.levels[1][1] == "12 *"
    left = Hierarchy.masking(["1234"], side="left", levels=1)
    assert left.levels[0] == ("1234", "*234", "*")


def test_zip_codes_pad_and_drop_the_extension() -> None:
    hierarchy = Hierarchy.zip_codes(["02139-4307", "2139"])
    assert hierarchy.generalize("2139", level=2) == "0213*"
    assert hierarchy.generalize("02139-4307", level=1) == "02139"


def test_ordered_groups_join_neighbours() -> None:
    hierarchy = Hierarchy.ordered_groups(["low", "mid", "high"], sizes=[2])
    assert hierarchy.labels(1) == ("low - mid", "high")


def test_by_frequency_gives_up_the_rarest_first() -> None:
    hierarchy = Hierarchy.by_frequency(["a"] * 5 + ["b"] * 3 + ["c", "d"], levels=2)
    assert hierarchy.labels(1) == ("a", "b", "*")
    assert hierarchy.labels(2) == ("a", "*")


def test_tree_fills_short_branches() -> None:
    hierarchy = Hierarchy.tree({"Europe": {"DE": ["Berlin"]}, "Asia": ["Tokyo"]})
    assert hierarchy.generalize("Berlin", level=1) == "DE"
    assert hierarchy.generalize("Tokyo", level=1) == "Asia"
    assert hierarchy.generalize("Tokyo", level=2) == "Asia"


@pytest.mark.parametrize(
    ("series", "name", "value", "label"),
    [
        (pl.Series(range(17, 91)), "age", "23", "20-24"),
        (
            pl.Series([f"{n:05}" for n in range(10_000, 10_100)]),
            "zip",
            "10012",
            "1001*",
        ),
        (pl.Series(["2020-01-31", "2021-02-01", "2021-02-02"]), "d", "2020-01-31", ""),
        (pl.Series(["x", "y", "z"]), "kind", "x", "*"),
        (pl.Series([f"code{n:03}" for n in range(99)]), "c", "code042", "code04*"),
        (pl.Series([0.1 * n for n in range(100)]), "f", "0.5", "[0.5, 1)"),
    ],
)
def test_automatic_by_content(series, name: str, value: str, label: str) -> None:
    hierarchy = Hierarchy.automatic(series, name=name)
    assert hierarchy.check(series) == []
    if label:
        assert hierarchy.generalize(value, level=1) == label
    else:
        assert hierarchy.levels[0][1:] == ("2020-01", "2020", "2020-2029", "*")


def test_automatic_dates_have_days_where_there_are_hours() -> None:
    times = pl.Series(["2020-01-31 08:00", "2021-02-01 09:30", "2021-02-01 10:00"])
    assert Hierarchy.automatic(times, name="d").levels[0][1] == "2020-01-31"


def test_automatic_places_missing_values_of_each_type() -> None:
    for series in (
        pl.Series([1, 50, None, 99]),
        pl.Series([1.5, float("nan"), 3.5, 80.0]),
        pl.Series([True, None, False]),
        pl.Series(["a", None, "b", "c"]),
    ):
        assert Hierarchy.automatic(series, name="x").check(series) == []


def test_a_carriage_return_in_a_value_survives_a_file() -> None:
    made = Hierarchy.from_rows([["a\rb", "x", "*"], ["c;\n", "x", "*"]])
    assert Hierarchy.from_csv(made.to_csv()) == made


@pytest.mark.parametrize(
    "values",
    [
        ["1.5", "1.50", "1.500"],
        ["-1.5e308", "1.5e308", "0.5"],
        ["0.0", "5e-324", "1e-323"],
    ],
)
def test_numbers_that_no_interval_parts_are_suppressed(values: list[str]) -> None:
    found = Hierarchy.automatic(pl.Series(values), name="dose")
    assert sorted(found.levels) == sorted((value, "*") for value in values)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([0.1, 2.5, None], dtype=pl.Float32),
        pl.Series([1e16, 2.5, float("nan")]),
        pl.Series([True, False, None]),
        pl.Series(["2020-01-02 03:04:05", None]).str.to_datetime(),
        pl.Series(["a", "*"], dtype=pl.Categorical),
    ],
)
@pytest.mark.parametrize("build", [Hierarchy.suppress, Hierarchy.by_frequency])
def test_builders_read_a_column_as_the_engine_does(build: Any, values: Any) -> None:
    assert build(values).check(values) == []


def test_numbers_and_dates_of_a_column_have_a_place() -> None:
    numbers = pl.Series([0.1, 2.5], dtype=pl.Float32)
    assert Hierarchy.intervals(numbers, widths=[1]).check(numbers) == []
    moments = pl.Series(["2020-01-02 03:04:05"]).str.to_datetime()
    assert Hierarchy.dates(moments).check(moments) == []


@pytest.mark.parametrize(
    "values",
    [
        ["1e308", "-5e307", "1.5", "2.5"],
        ["0", "1e-290", "3e-290"],
        ["1e17", "1.00000000000000016e17", "1.00000000000000064e17"],
        ["0.1", "0.100000000000001", "0.100000000000009"],
    ],
)
def test_numbers_that_no_interval_can_part_are_suppressed(values: list[str]) -> None:
    assert Hierarchy.automatic(pl.Series(values), name="x").height == 1
