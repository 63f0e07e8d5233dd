"""The risk page and its REST twins: figures, the record, and who may ask."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from django.urls import reverse

from privacyhub.datasets import tables
from privacyhub.governance.models import AuditEvent, EntryKind, LedgerEntry

pytestmark = pytest.mark.django_db
QUASI = ["birth_date", "zip", "sex", "occupation"]


def test_risk_of_the_quasi_identifiers(
    register_version: Any, policy: Any, steward: Any, api_for: Any
) -> None:
    where = f"/api/v1/versions/{register_version.pk}/risk-report/"
    told = api_for(steward).get(where).data
    frame = tables.load(register_version)
    sizes = frame.group_by(QUASI).len()["len"]
    assert told["columns"] == QUASI
    assert told["risk"]["unique_rows"] == int((sizes == 1).sum())
    assert told["risk"]["marketer"] == pytest.approx(len(sizes) / frame.height)
    assert told["before"] is None
    assert {one["estimator"] for one in told["population_uniqueness"]} == {
        "dankar",
        "pitman",
        "zayatz",
        "snb",
    }
    one = api_for(steward).get(where, {"column": ["sex"], "threshold": 0.5}).data
    assert one["risk"]["classes"] == frame["sex"].n_unique()
    assert one["risk"]["threshold"] == 0.5


def test_release_is_set_beside_what_it_was_made_of(
    released: Any, steward: Any, api_for: Any
) -> None:
    where = f"/api/v1/versions/{released.release_id}/risk-report/"
    told = api_for(steward).get(where).data
    assert told["risk"]["smallest_class"] >= 4
    assert told["risk"]["suppressed"] == released.result["suppressed"]
    before = released.result["risk"]["before"]
    assert told["before"]["unique_rows"] == before["unique_rows"]


def test_finder_counts_rows_that_stand_alone(
    register_version: Any, policy: Any, steward: Any, api_for: Any
) -> None:
    where = f"/api/v1/versions/{register_version.pk}/quasi-identifiers/"
    told = api_for(steward).get(where, {"column": QUASI}).data
    frame = tables.load(register_version)
    single = {tuple(one["columns"]): one for one in told["sets"]}
    expected = frame["zip"].n_unique() / frame.height
    assert single[("zip",)]["distinction"] == pytest.approx(expected)
    alone = frame.select(pl.col("birth_date").is_unique().sum()).item()
    sets = {tuple(one["columns"]): one["rows"] for one in told["minimal_uniques"]}
    assert sets.get(("birth_date",), 0) == alone


def test_safe_harbor_names_what_must_go(
    register_version: Any, steward: Any, api_for: Any
) -> None:
    where = f"/api/v1/versions/{register_version.pk}/safe-harbor/"
    found = {one["column"]: one["rule"] for one in api_for(steward).get(where).data}
    assert found["email"] == "F"
    assert found["birth_date"] == "C"
    assert found["zip"] == "B"
    assert "sodium" not in found


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"column": ["gone"]}, "no_column"),
        ({"threshold": 0}, "out_of_range"),
        ({"threshold": "nan"}, "invalid"),
        ({"population": 5}, "population_too_small"),
    ],
)
def test_bad_question_is_a_problem(
    register_version: Any,
    policy: Any,
    steward: Any,
    api_for: Any,
    query: Any,
    code: str,
) -> None:
    where = f"/api/v1/versions/{register_version.pk}/risk-report/"
    answer = api_for(steward).get(where, query)
    assert answer.status_code == 400
    assert answer.json()["code"] == code


def test_pages_answer_and_are_on_the_record(
    register_version: Any, policy: Any, steward: Any, auditor: Any, client_for: Any
) -> None:
    client = client_for(steward)
    page = client.get(reverse("web:risk_report", args=[register_version.pk]))
    assert page.status_code == 200
    for name, data, says in (
        ("risk_measured", {"known": QUASI}, "Prosecutor"),
        ("risk_measured", {"known": QUASI, "threshold": "x"}, "above 0"),
        ("risk_finder", {"looked_at": QUASI}, "Distinction"),
        ("risk_safe_harbor", {}, "mail address"),
    ):
        where = reverse(f"web:{name}", args=[register_version.pk])
        assert says in client.post(where, data).content.decode()
        assert client_for(auditor).post(where, data).status_code == 403
    looks = LedgerEntry.objects.filter(
        kind=EntryKind.STEWARD_READ, purpose__startswith="risk report"
    )
    assert looks.count() == 3
    assert AuditEvent.objects.filter(action="version.risk_report").count() == 3
