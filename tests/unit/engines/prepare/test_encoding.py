from __future__ import annotations

import json
import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from privacyhub.engines.prepare.encoding import (
    ColumnSpec,
    Encoder,
    TargetSpec,
    as_texts,
    default_knots,
)

AGE = ColumnSpec(name="age", kind="number", lower=0, upper=100, knots=(0, 50, 100))
CITY = ColumnSpec(name="city", kind="category", categories=("A", "B"))


def features(columns, frame):
    encoder = Encoder(columns)
    table = encoder.encode(frame)
    assert table.features.dtype == np.float32
    return [
        dict(zip(encoder.feature_names, row.tolist(), strict=True))
        for row in table.features
    ]


def test_number_is_scaled_placed_among_knots_and_clipped() -> None:
    rows = features([AGE], pl.DataFrame({"age": [25.0, 100.0, -3.0, 250.0]}))
    assert rows[0] == {
        "age": -0.5,
        "age~0": 0.5,
        "age~50": 0.5,
        "age~100": 0.0,
        "age?": 0.0,
    }
    assert rows[1]["age"] == rows[3]["age"] == 1
    assert rows[1]["age~100"] == rows[3]["age~100"] == 1
    assert rows[2]["age"] == -1
    assert rows[2]["age~0"] == 1


def test_number_that_is_missing_or_not_finite_has_its_own_place() -> None:
    frame = pl.DataFrame({"age": [None, math.nan, math.inf, -math.inf]})
    for row in features([AGE], frame):
        assert row == {
            "age": 0.0,
            "age~0": 0.0,
            "age~50": 0.0,
            "age~100": 0.0,
            "age?": 1.0,
        }


def test_text_that_is_no_number_counts_as_missing() -> None:
    rows = features([AGE], pl.DataFrame({"age": [" 50 ", "old"]}))
    assert rows[0]["age~50"] == 1
    assert rows[1]["age?"] == 1


def test_category_has_places_for_unknown_and_missing() -> None:
    rows = features([CITY], pl.DataFrame({"city": [" A", "C", None, ""]}))
    names = [[name for name, value in row.items() if value] for row in rows]
    assert names == [["city=A"], ["city=(unknown)"], ["city?"], ["city?"]]


def test_category_with_an_empty_domain_is_unknown_or_missing() -> None:
    empty = ColumnSpec(name="city", kind="category", source="dp")
    rows = features([empty], pl.DataFrame({"city": ["A", None]}))
    assert rows[0]["city=(unknown)"] == rows[1]["city?"] == 1


def test_long_domain_becomes_an_embedding() -> None:
    column = ColumnSpec(
        name="code", kind="category", categories=tuple(str(n) for n in range(100))
    )
    encoder = Encoder([AGE, column])
    table = encoder.encode(pl.DataFrame({"age": [1.0, 2, 3], "code": [42, 1000, None]}))
    assert table.ids.tolist() == [[42], [100], [101]]
    assert table.category_sizes == (102,)


def test_boolean_reads_its_usual_spellings() -> None:
    column = ColumnSpec(name="smoker", kind="boolean")
    rows = features(
        [column], pl.DataFrame({"smoker": ["true", "No", "1", "maybe", None]})
    )
    names = [[name for name, value in row.items() if value] for row in rows]
    assert names == [
        ["smoker=true"],
        ["smoker=false"],
        ["smoker=true"],
        ["smoker?"],
        ["smoker?"],
    ]


def test_date_is_a_number_of_days() -> None:
    column = ColumnSpec(name="seen", kind="date", lower=0, upper=10, knots=(0, 10))
    rows = features(
        [column], pl.DataFrame({"seen": [date(1970, 1, 6), None, date(1990, 1, 1)]})
    )
    assert [row["seen"] for row in rows] == [0, 0, 1]
    assert rows[1]["seen?"] == 1
    as_text = features([column], pl.DataFrame({"seen": ["1970-01-06"]}))
    assert as_text[0] == rows[0]


def test_each_row_is_encoded_alone() -> None:
    frame = pl.DataFrame({"age": [5.0, 80, None], "city": ["A", "Z", "B"]})
    encoder = Encoder([AGE, CITY])
    whole = encoder.encode(frame).features
    for row in range(3):
        np.testing.assert_array_equal(
            encoder.encode(frame[row]).features[0], whole[row]
        )


def test_target_codes_and_missing_target() -> None:
    encoder = Encoder([AGE], target=TargetSpec(name="y", classes=("no", "yes")))
    codes = encoder.encode_target(pl.DataFrame({"y": ["yes", " no", "odd", None]}))
    np.testing.assert_array_equal(codes, [1, 0, np.nan, np.nan])


@pytest.mark.parametrize("classes", [("0", "1"), ("0.0", "1.0"), ("0", "1.0")])
@pytest.mark.parametrize("dtype", [pl.Float64, pl.Float32, pl.Int64])
def test_classes_of_whole_numbers_are_the_same_however_they_are_held(
    classes: tuple[str, ...], dtype: pl.DataType
) -> None:
    encoder = Encoder([AGE], target=TargetSpec(name="y", classes=classes))
    held = pl.Series("y", [1, 0, None, 2, -1], dtype=dtype)
    codes = encoder.encode_target(pl.DataFrame({"y": held}))
    np.testing.assert_array_equal(codes, [1, 0, np.nan, np.nan, np.nan])


def test_categories_that_are_held_as_floats() -> None:
    column = ColumnSpec(name="code", kind="category", categories=("1", "2.5", "-3"))
    held = [1.0, 2.5, -3.0, 4.0, math.nan, math.inf, None, 1e300]
    rows = features([column], pl.DataFrame({"code": held}))
    names = [next(name for name, value in row.items() if value) for row in rows]
    assert names == [
        "code=1",
        "code=2.5",
        "code=-3",
        "code=(unknown)",
        *["code?"] * 3,
        "code=(unknown)",
    ]


def test_texts_of_categories_stay_as_they_are() -> None:
    column = ColumnSpec(name="code", kind="category", categories=("1", "1.0"))
    rows = features([column], pl.DataFrame({"code": ["1.0", "1"]}))
    assert rows[0]["code=1.0"] == rows[1]["code=1"] == 1


def test_boolean_that_is_held_as_floats() -> None:
    column = ColumnSpec(name="smoker", kind="boolean")
    rows = features([column], pl.DataFrame({"smoker": [1.0, 0.0, None]}))
    assert rows[0]["smoker=true"] == rows[1]["smoker=false"] == rows[2]["smoker?"] == 1


def test_regression_target_is_scaled_and_comes_back() -> None:
    encoder = Encoder([AGE], target=TargetSpec(name="y", lower=10, upper=30))
    scaled = encoder.encode_target(pl.DataFrame({"y": [10.0, 25, 99]}))
    np.testing.assert_allclose(scaled, [-1, 0.5, 1])
    np.testing.assert_allclose(encoder.target_numbers(scaled), [10, 25, 30])


def test_encoder_survives_json() -> None:
    encoder = Encoder([AGE, CITY], target=TargetSpec(name="y", classes=("0", "1")))
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again.columns == encoder.columns
    assert again.target == encoder.target


def test_default_knots_cover_amounts_on_a_logarithmic_scale() -> None:
    assert default_knots(0, 8) == tuple(float(n) for n in range(9))
    amounts = default_knots(0, 100_000)
    assert amounts[0] == 0
    assert amounts[-1] == 100_000
    assert sum(knot < 1000 for knot in amounts) > 8


def test_undeclared_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="Column age: declare its bounds"):
        ColumnSpec(name="age", kind="number", lower=0)
    with pytest.raises(ValueError, match="lower bound must be below"):
        ColumnSpec(name="age", kind="number", lower=5, upper=5)


def test_missing_and_doubled_columns_are_named() -> None:
    with pytest.raises(ValueError, match="Missing columns: city"):
        Encoder([CITY]).encode(pl.DataFrame({"age": [1]}))
    with pytest.raises(ValueError, match="listed twice"):
        Encoder([CITY, CITY])
    with pytest.raises(ValueError, match="cannot be an input"):
        Encoder([CITY], target=TargetSpec(name="city", classes=("A", "B")))


def test_a_column_may_be_called_like_a_pattern() -> None:
    texts = as_texts(pl.Series("^a$", [1.0, 2.5]))
    assert (texts.name, texts.to_list()) == ("^a$", ["1", "2.5"])
