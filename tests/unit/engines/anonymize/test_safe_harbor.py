"""What of the Safe Harbor list a table holds: numbers, dates, names, ages."""

from __future__ import annotations

import polars as pl
import pytest

from privacyhub.engines import anonymize as an

ROWS = 40


def found(name: str, values: list[object], **known: object) -> set[str]:
    return {f.rule for f in an.check_safe_harbor(pl.DataFrame({name: values}), **known)}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("patient_id", [7001 + 13 * n for n in range(ROWS)]),
        ("student_no", [f"S{n:05d}" for n in range(ROWS)]),
        ("patientId", [n // 4 for n in range(ROWS)]),
        ("case number", ["a", "b"]),
        ("reference", [f"{n * 7919:x}-{n}" for n in range(ROWS)]),
        ("row", list(range(ROWS))),
        ("row", [str(n) for n in range(ROWS)]),
    ],
)
def test_any_other_number_that_is_unique_is_found(
    name: str, values: list[object]
) -> None:
    assert found(name, values) == {"R"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ward_no", [n % 3 for n in range(ROWS)]),
        ("sodium", [140 + n / 10 for n in range(ROWS)]),
        ("sodium", [str(140 + n / 10) for n in range(ROWS)]),
        ("income", [20_000 + 731 * n for n in range(ROWS)]),
        ("result", ["x", "y"]),
        ("smokes", [True, False]),
        ("notes", ["a", "b"]),
    ],
)
def test_a_measure_or_a_group_is_no_number_of_a_person(
    name: str, values: list[object]
) -> None:
    assert found(name, values) == set()


def test_a_column_that_is_known_to_name_people_is_found() -> None:
    assert found("alias", ["a", "a"]) == set()
    assert found("alias", ["a", "a"], identifiers=["alias"]) == {"R"}
    assert found("email", ["a@b.org"], identifiers=["email"]) == {"F"}


@pytest.mark.parametrize(
    "value",
    ["12/31/1980", "1/2/80", "31.12.1980", "12-31-1980", "1980/12/31"]
    + ["12/31/1980 08:30", "1980-12-31", "1980-12"],
)
def test_dates_in_any_order_are_more_exact_than_the_year(value: str) -> None:
    assert found("seen", [value] * 3) == {"C"}


@pytest.mark.parametrize("value", ["1980", "1980-1989", "1980s", "3.14", "10-14"])
def test_years_and_ranges_are_no_dates(value: str) -> None:
    assert found("seen", [value] * 3) == set()


@pytest.mark.parametrize(
    "name",
    ["name", "employee_name", "Student Name", "patientName", "surname", "first-name"]
    + ["mother's name", "emergency_contact_name", "username"],
)
def test_names_of_people_are_found(name: str) -> None:
    assert found(name, ["x", "y"]) == {"A"}


@pytest.mark.parametrize("name", ["drug_name", "filename", "test name", "nameplate"])
def test_names_of_things_are_not(name: str) -> None:
    assert found(name, ["x", "x"]) == set()


@pytest.mark.parametrize(
    ("value", "above"),
    [
        ("90-94", True),
        ("[90, 95)", True),
        ("91", True),
        ("90.5", True),
        ("90 to 94", True),
        ("85-89", False),
        ("89", False),
        (">=90", False),
        ("90+", False),
        ("*", False),
    ],
)
def test_released_ages_are_read_by_their_low_end(value: str, above: bool) -> None:  # noqa: FBT001
    assert ("C" in found("age", [value, "40"])) == above


@pytest.mark.parametrize("value", ["95+", "99 +", ">95", "≥95", "[90, 95["])
def test_ages_past_ninety_that_are_not_the_one_group_are_found(value: str) -> None:
    assert found("age", ["40"] * 30 + [value]) == {"C"}


@pytest.mark.parametrize("value", ["90+", "90 +", ">=90", "≥ 90", ">89"])
def test_all_ages_from_ninety_are_one_group(value: str) -> None:
    assert not found("age", ["40"] * 30 + [value])


def test_a_count_in_a_short_table_is_no_code() -> None:
    assert not found("number of children", [0, 1, 2, 3] * 4 + [0, 1])
