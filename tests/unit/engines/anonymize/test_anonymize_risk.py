from __future__ import annotations

import polars as pl
import pytest

from privacyhub.engines import anonymize as an

FRAME = pl.DataFrame({"a": ["x", "x", "y", "*"], "b": ["1", "1", "2", "*"]})


def test_measure_counts_classes_and_leaves_suppressed_rows_out() -> None:
    risk = an.risk.measure(FRAME, ["a", "b"], threshold=0.5)
    assert (risk.rows, risk.suppressed, risk.classes) == (3, 1, 2)
    assert risk.histogram == ((1, 1), (2, 1))
    assert risk.prosecutor.highest == 1.0
    assert risk.prosecutor.average == pytest.approx(2 / 3)
    assert risk.prosecutor.rows_at_risk == 1
    assert risk.marketer == pytest.approx(2 / 3)


def test_measure_with_population_is_the_journalist() -> None:
    shown = FRAME.head(3)
    population = pl.concat([shown, shown, shown])
    risk = an.risk.measure(shown, ["a", "b"], population=population)
    assert risk.journalist.highest == pytest.approx(1 / 3)
    assert risk.marketer == pytest.approx(2 / 9)
    with pytest.raises(an.AnonymizeError, match="lacks rows"):
        an.risk.measure(shown, ["a", "b"], population=population.head(1))


def test_joint_k_of_two_releases_can_be_one() -> None:
    first = pl.DataFrame({"row": range(10), "x": ["a"] * 5 + ["b"] * 5})
    second = pl.DataFrame({"row": range(10), "y": ["c"] * 4 + ["d"] * 5 + ["c"]})
    joint = an.risk.joint_k([first, second])
    assert joint.k == (5, 5)
    assert joint.smallest == 1
    assert joint.rows_below == (10, 10)
    assert an.risk.joint_k([first, first]).smallest == 5
    assert an.risk.joint_k([first]).rows_below == (0,)


def test_joint_k_takes_suppressed_and_absent_rows_as_classes() -> None:
    first = pl.DataFrame({"row": [0, 1, 2, 3], "x": ["a", "a", "a", "*"]})
    second = pl.DataFrame({"row": [0, 1, 3], "y": ["c", "*", "*"]})
    joint = an.risk.joint_k([first, second])
    assert joint.smallest == 1
    assert joint.suppressed_in_all == 1
    assert joint.rows == 3


def test_joint_k_rejects_rows_named_twice() -> None:
    twice = pl.DataFrame({"row": [0, 0], "x": ["a", "b"]})
    with pytest.raises(an.AnonymizeError, match="twice"):
        an.risk.joint_k([twice])


def test_joint_k_compares_codes_as_it_compares_text() -> None:
    """Codes, numbers and plain text of the same table say the same."""
    text = pl.DataFrame(
        {
            "row": range(8),
            "x": ["a", "a", "*", "*", None, "", "b", "b"],
            "y": ["1", "1", "*", "2", "3", "3", "4", "4"],
        }
    )
    other = pl.DataFrame({"row": range(8), "z": [1, 1, 2, 2, 3, 3, 4, 5]})
    coded = an.compact([text.head(3), text.tail(5)])
    plain = an.risk.joint_k([text, other])
    assert an.risk.joint_k([coded, other]) == plain
    assert plain.k == (1, 1)
    assert plain.smallest == 1
    assert an.risk.joint_k([coded]).suppressed_in_all == 1
    assert an.risk.joint_k([coded]).histogram == ((1, 1), (2, 3))
