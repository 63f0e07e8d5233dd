"""A session that nobody uses ends, even while an open page keeps asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from privacyhub.web import middleware

pytestmark = pytest.mark.django_db
MINUTE = 60.0
POLL = {"HX-Request": "true"}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many minutes pass on the clock by which sessions end."""
    clock = middleware.time.time()

    class Clock:
        @staticmethod
        def time() -> float:
            return clock

    def passes(minutes: float) -> None:
        nonlocal clock
        clock += minutes * MINUTE

    monkeypatch.setattr(middleware, "time", Clock)
    return passes


@pytest.fixture
def open_page(client_for: Callable[[Any], Client], steward: Any) -> Client:
    return client_for(steward)


def test_a_session_in_use_stays(
    open_page: Client, later: Callable[[float], None]
) -> None:
    for _ in range(3):
        assert open_page.get("/jobs/").status_code == 200
        later(50)


def test_an_unused_session_ends(
    open_page: Client, later: Callable[[float], None]
) -> None:
    open_page.get("/jobs/")
    later(61)
    answer = open_page.get("/jobs/")
    assert answer.status_code == 302
    assert "/login/" in answer["Location"]


def test_a_page_that_keeps_itself_current_does_not_keep_its_session(
    open_page: Client, later: Callable[[float], None]
) -> None:
    open_page.get("/jobs/")
    for _ in range(2):
        later(29)
        assert open_page.get("/jobs/", headers=POLL).status_code == 200
    later(29)
    answer = open_page.get("/jobs/", headers=POLL)
    assert (answer.status_code, answer["HX-Refresh"]) == (204, "true")
    assert open_page.get("/jobs/").status_code == 302
