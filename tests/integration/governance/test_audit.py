"""The audit trail: one chain, that tells the first line somebody changed."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from privacyhub.governance import audit
from privacyhub.governance.models import AuditEvent, AuditHead

TABLE = "governance_auditevent"


@pytest.fixture
def trail(steward: Any) -> list[AuditEvent]:
    return [
        audit.record(actor=steward, action=f"thing.{n}", target=steward, count=n)
        for n in range(5)
    ]


def _without_triggers(statement: str, *values: Any) -> None:
    """What somebody does who owns the database file."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER ALL")
        else:
            cursor.execute(f"DROP TRIGGER {TABLE}_no_update")
            cursor.execute(f"DROP TRIGGER {TABLE}_no_delete")
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(statement, values)


def test_trail_untouched_holds(trail: list[AuditEvent]) -> None:
    assert audit.first_bad_row() is None
    out = io.StringIO()
    call_command("verify_audit", stdout=out)
    assert "5 lines hold" in out.getvalue()


ANYWHERE = [
    *((name, "x") for name in ("actor", "actor_id", "action", "object_id", "hash")),
    *(("canonical", text) for text in ("x", "{}", "[]", '{"sequence": 3}')),
    ("detail", '"x"'),
    ("at", "2001-02-03 04:05:06"),
]
BY_SQLITE_ALONE = [("detail", "{"), ("at", "x")]  # PostgreSQL's types refuse these


@pytest.mark.parametrize(("column", "value"), ANYWHERE + BY_SQLITE_ALONE)
def test_trail_with_a_changed_line_names_it(
    trail: list[AuditEvent], column: str, value: str
) -> None:
    if connection.vendor == "postgresql" and (column, value) in BY_SQLITE_ALONE:
        return
    _without_triggers(
        f"UPDATE {TABLE} SET {column} = %s WHERE sequence = 3",  # noqa: S608
        value,
    )
    assert audit.first_bad_row() == 3
    with pytest.raises(CommandError, match="line 3"):
        call_command("verify_audit")


def test_trail_without_its_head_names_the_first_missing_line(
    trail: list[AuditEvent],
) -> None:
    AuditHead.objects.all().delete()
    assert audit.first_bad_row() == 6


def test_trail_with_a_lost_line_names_it(trail: list[AuditEvent]) -> None:
    _without_triggers(f"DELETE FROM {TABLE} WHERE sequence = 2")  # noqa: S608
    assert audit.first_bad_row() == 2


def test_trail_with_a_lost_end_names_it(trail: list[AuditEvent]) -> None:
    _without_triggers(f"DELETE FROM {TABLE} WHERE sequence = 5")  # noqa: S608
    assert audit.first_bad_row() == 5
    assert AuditHead.objects.get().sequence == 5


def test_export_runs_no_formula(steward: Any) -> None:
    audit.record(actor="=cmd|' /C calc'!A0", action="login.refused")
    text = "".join(audit.to_csv(audit.select()))
    assert "'=cmd" in text
    assert ",=cmd" not in text


def test_select_by_every_filter(trail: list[AuditEvent], steward: Any) -> None:
    day = trail[0].at
    assert audit.select(action="thing").count() == 5
    assert audit.select(action="thing.3").count() == 1
    assert audit.select(actor="steward", object_type="user").count() == 5
    assert audit.select(actor="nobody").count() == 0
    assert audit.select(object_id=str(steward.pk)).count() == 5
    today = datetime.fromisoformat(str(day)).date()
    assert audit.select(since=today, until=today).count() == 5


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_page_and_rest_for_those_who_may(
    request: pytest.FixtureRequest, client_for: Any, api_for: Any, role: str
) -> None:
    user = request.getfixturevalue(role)
    client, api = client_for(user), api_for(user)
    assert client.get("/audit/?action=token").status_code == 200
    assert b"holds" in client.get("/audit/verify/").content
    export = client.get("/audit/export/")
    assert b"".join(export.streaming_content).startswith(b"sequence,")
    assert api.get("/api/v1/audit/").json()["count"] >= 1
    assert api.get("/api/v1/audit/verify/").json()["first_bad_row"] is None


@pytest.mark.parametrize("role", ["steward", "analyst"])
def test_page_and_rest_for_others_are_refused(
    request: pytest.FixtureRequest, client_for: Any, api_for: Any, role: str
) -> None:
    user = request.getfixturevalue(role)
    for path in ("/audit/", "/audit/verify/", "/audit/export/"):
        assert client_for(user).get(path).status_code == 403
    for path in ("/api/v1/audit/", "/api/v1/audit/verify/"):
        assert api_for(user).get(path).status_code == 403
