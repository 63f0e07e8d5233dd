"""Role suggestions: identifiers are found, measures are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from privacyhub.engines.identifiers import RoleSuggestion, suggest_roles
from privacyhub.engines.identifiers.patterns import passes_iban, passes_luhn
from privacyhub.engines.tables import (
    Format,
    check_structure,
    patient_register,
    profile,
    read_table,
)

RANDOM = np.random.default_rng(3)
N = 400


def suggested(frame: pl.DataFrame) -> dict[str, RoleSuggestion]:
    table = frame.to_arrow()
    found = suggest_roles(frame, profile(table.to_batches(), schema=table.schema))
    return {one.column: one for one in found}


def column(name: str, values: object) -> RoleSuggestion:
    return suggested(pl.DataFrame({name: values}))[name]


def test_suggest_roles_register() -> None:
    roles = suggested(patient_register(rows=5_000))
    by_role: dict[str, set[str]] = {}
    for one in roles.values():
        by_role.setdefault(one.role, set()).add(one.column)
    assert by_role["identifier"] == {"name", "email", "phone", "record_number"}
    assert by_role["quasi_identifier"] == {"birth_date", "zip", "sex", "occupation"}
    assert by_role["sensitive"] == {"diagnosis", "readmitted"}
    assert roles["name"].kind == "person name"
    assert roles["zip"].kind == "ZIP code"


def test_suggest_roles_adult_has_no_identifier(shared_data: Path) -> None:
    with (shared_data / "adult_uci" / "adult_train.csv").open("rb") as source:
        structure = check_structure(source, format=Format.CSV)
        table = read_table(source, format=Format.CSV, structure=structure)
        frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(table.batches())))
    roles = {name: one.role for name, one in suggested(frame).items()}
    assert "identifier" not in roles.values()
    assert roles["income"] == "sensitive"
    assert roles["fnlwgt"] == "insensitive"
    quasi = {name for name, role in roles.items() if role == "quasi_identifier"}
    assert {"age", "sex", "race", "native-country", "marital-status"} <= quasi


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("email", [f"u{k}@example.org" for k in range(N)]),
        ("phone", [f"+49 30 555{k:04d}" for k in range(N)]),
        ("phone", [f"(212) 555-{k:04d}" for k in range(N)]),
        ("social security number", [f"123-45-{k:04d}" for k in range(N)]),
        ("IP address", [f"10.0.{k // 250}.{k % 250}" for k in range(N)]),
        ("URL", [f"https://example.org/u/{k}" for k in range(N)]),
        ("IBAN", ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000"] * 20),
        ("credit card", ["4111 1111 1111 1111", "5500005555555559"] * 20),
        (
            "person name",
            [f"Ann{'abcdefghij'[k % 10]} Mc{'xyz'[k % 3]}orn" for k in range(20)],
        ),
    ],
)
def test_suggest_roles_by_values_alone(kind: str, values: list[str]) -> None:
    one = column("field_7", values)
    assert (one.role, one.kind) == ("identifier", kind)
    assert not any(value in one.reason for value in values)


@pytest.mark.parametrize(
    "name",
    ["patient_id", "PatientID", "Patient No", "SSN", "e-mail", "lastName", "user-name"],
)
def test_suggest_roles_by_name_alone(name: str) -> None:
    """Repeated keys too: a unit key points at a person in each of its rows."""
    values = RANDOM.choice(["qa", "wb", "ec", "rd"], N).tolist()
    assert column(name, values).role == "identifier"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("glucose", RANDOM.normal(100, 20, N)),
        ("fnlwgt", RANDOM.integers(10_000, 1_500_000, N)),
        ("capital-gain", RANDOM.integers(0, 99_999, N)),
        ("phone_type", ["mobile", "home"] * (N // 2)),
        ("has_email", [True, False] * (N // 2)),
        ("age_of_car_value", RANDOM.normal(9_000, 99, N)),
    ],
)
def test_suggest_roles_measures_are_no_identifiers(name: str, values: object) -> None:
    assert column(name, values).role != "identifier"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("col", np.arange(1000, 1000 + N)),
        ("row_id", np.arange(N) * 977),
        ("token", [f"{k * 7919:x}" for k in range(N)]),
    ],
)
def test_suggest_roles_unique_keys_are_identifiers(name: str, values: object) -> None:
    assert column(name, values).role == "identifier"


def test_luhn_and_iban_checks() -> None:
    assert passes_luhn("4111111111111111")
    assert not passes_luhn("4111111111111121")
    assert passes_iban("DE89 3704 0044 0532 0130 00")
    assert not passes_iban("DE88 3704 0044 0532 0130 00")
