"""Bad input: 400 or 409 that names row and column, never a value; nothing is made."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.models import Job
from privacyhub.datasets import services
from privacyhub.datasets.models import Dataset, Upload
from privacyhub.governance.models import DataKey, LedgerEntry

CANARY = "Zanzibar-Secret-77"


@pytest.mark.parametrize(
    ("name", "content", "code", "row"),
    [
        ("t.csv", b"", "empty_file", None),
        ("t.csv", b"a,b\n", "no_rows", None),
        ("t.csv", f"a,a\n1,{CANARY}\n".encode(), "duplicate_header", 0),
        ("t.csv", f"a,\n1,{CANARY}\n".encode(), "empty_header", 0),
        ("t.csv", f"a,b\n1,2\n{CANARY}\n".encode(), "ragged_row", 2),
        ("t.csv", f"a,b\n1,{CANARY}\xff\n".encode("latin-1"), "invalid_utf8", 1),
        ("t.parquet", f"a,b\n1,{CANARY}\n".encode(), "format_mismatch", None),
        ("t.xlsx", b"PK\x03\x04" + CANARY.encode(), "unsupported_format", None),
        ("t.pickle", b"\x80\x04" + CANARY.encode(), "unsupported_format", None),
        ("t.png", f"a,b\n1,{CANARY}\n".encode(), "unknown_extension", None),
    ],
)
def test_bad_file_is_refused_and_leaves_nothing(
    name: str,
    content: bytes,
    code: str,
    row: int | None,
    steward: Any,
    send: Any,
    store: Any,
) -> None:
    before = store()
    answer = send(steward, content, name)
    assert answer.status_code == 400, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert told["code"] == code, told
    assert told.get("row") == row
    assert CANARY not in answer.content.decode()
    assert store() == before
    assert not Dataset.objects.exists()
    assert not Upload.objects.exists()
    assert not Job.objects.exists()
    assert not DataKey.objects.exists()
    assert not LedgerEntry.objects.exists()


def test_missing_file_is_told_by_field(steward: Any, api_for: Any) -> None:
    client = api_for(steward)
    answer = client.post("/api/v1/datasets/", {"name": "x"}, format="multipart")
    assert answer.status_code == 400
    assert "file" in answer.json()["errors"]


def _patch(api_for: Any, user: Any, version: Any, changes: Any) -> Any:
    path = f"/api/v1/versions/{version.pk}/columns/"
    return api_for(user).patch(path, changes, format="json")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"x,y\n" + b"1,same\n" * 5, "one_class"),
        (b"x,y\n" + b"".join(b"1,c%d\n" % n for n in range(60)), "many_classes"),
        (b"x,y\n1,a\n2,a\n3,b\n", "rare_class"),
        (b"x,y\n1,2.5\n2,2.5\n", "one_class"),
    ],
)
def test_bad_target_is_refused_when_it_is_chosen(
    content: bytes, code: str, steward: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward, content)
    changes = {"y": {"is_target": True, "role": "sensitive"}}
    answer = _patch(api_for, steward, version, changes)
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert answer.json()["column"] == "y"
    assert version.target is None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"age": {"role": "secret"}}, 400),
        ({"age": {"colour": "red"}}, 400),
        ({"nobody": {"role": "sensitive"}}, 400),
        ({"age": {"lower": 5, "upper": 5}}, 400),
        ({"age": {"lower": "nan"}}, 400),
        ({"name": {"lower": 1}}, 400),
        ({"sick": {"categories": ["a", "a"]}}, 400),
        ({"sick": {"categories": []}}, 400),
        ({"name": {"is_target": True, "role": "identifier"}}, 409),
        ({"age": {"is_target": True}, "sick": {"is_target": True}}, 400),
        ({"age": "sensitive"}, 400),
        (["age"], 400),
    ],
)
def test_bad_column_change_changes_nothing(
    change: Any, status: int, steward: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward)
    before = list(version.columns.values())
    answer = _patch(api_for, steward, version, change)
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert list(version.columns.values()) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon_cap": "0"},
        {"epsilon_cap": "-1"},
        {"epsilon_cap": "NaN"},
        {"epsilon_cap": "inf"},
        {"epsilon_cap": "1e400"},
        {"epsilon_cap": "much"},
        {"delta_cap": "0.05"},  # 0.05 x 60 is above 1
        {"delta_cap": "0"},
        {"delta_cap": "NaN"},
        {"delta_cap": "1e-400"},
        {"declared_units": 0},
        {"unit": "key"},
        {"unit": "key", "unit_key": "nobody"},
        {"unit_key": "name"},
        {"unit": "family"},
        {"most_rows_per_unit": 0},
    ],
)
def test_bad_budget_declares_nothing(
    wrong: dict[str, Any], steward: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward)
    body = {"declared_units": 60, "epsilon_cap": "3", "delta_cap": "1e-4"} | wrong
    path = f"/api/v1/versions/{version.pk}/budget/"
    answer = api_for(steward).put(path, body, format="json")
    assert answer.status_code in {400, 409}, answer.content
    assert not services.the_ledger(version).is_declared
