"""What is answered when no view saw the request, or its view broke."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from privacyhub.web import jobs as pages

pytestmark = pytest.mark.django_db
JSON = "application/problem+json"


def test_a_script_reads_an_unknown_address_as_a_problem_document() -> None:
    answer = Client().get("/api/v1/nowhere/")
    assert (answer.status_code, answer["Content-Type"]) == (404, JSON)
    assert answer.json()["code"] == "not_found"


def test_a_person_reads_an_unknown_address_as_a_page() -> None:
    answer = Client().get("/nowhere/")
    assert answer.status_code == 404
    assert b"<h1>" in answer.content


@pytest.mark.parametrize(
    ("path", "type_"), [("/api/v1/jobs/", JSON), ("/jobs/", "text/html; charset=utf-8")]
)
def test_a_bug_says_nothing_of_itself(
    monkeypatch: pytest.MonkeyPatch, steward: Any, path: str, type_: str
) -> None:
    def breaks(self: Any, user: Any) -> Any:
        raise RuntimeError("a cell's value")

    monkeypatch.setattr(type(pages.Job.objects.all()), "visible_to", breaks)
    client = Client(raise_request_exception=False)
    client.force_login(steward)
    answer = client.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (500, type_)
    assert b"a cell" not in answer.content
