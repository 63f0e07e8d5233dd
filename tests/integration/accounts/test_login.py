"""Signing in: throttled, told alike for every name, on the audit trail."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from privacyhub.accounts.models import LoginFailure
from privacyhub.governance.models import AuditEvent

from .conftest import Browser

PASSWORD = "a long password 1"
NEW = "another long password 2"
WRONG = b"The name or the password is wrong."
CLOSED = b"Too many attempts."


def _login(username: str, password: str, **headers: str) -> tuple[Browser, bytes]:
    client = Browser()
    form = {"username": username, "password": password}
    return client, client.post("/login/", form, **headers).content


def _is_in(client: Browser) -> bool:
    return client.get("/settings/").status_code == 200


def test_login_and_logout_are_on_record(steward: Any) -> None:
    client, _ = _login("steward", PASSWORD)
    assert _is_in(client)
    client.post("/logout/")
    assert not _is_in(client)
    actions = list(AuditEvent.objects.order_by("sequence").values_list("action"))
    assert actions == [("login",), ("logout",)]


def test_wrong_password_unknown_name_and_closed_account_read_alike(
    steward: Any, analyst: Any
) -> None:
    analyst.is_active = False
    analyst.save()
    for name, password in (
        ("steward", "wrong"),
        ("nobody", "wrong"),
        ("analyst", PASSWORD),
    ):
        client, page = _login(name, password)
        assert WRONG in page
        assert not _is_in(client)
    assert AuditEvent.objects.filter(action="login.refused").count() == 3


@pytest.mark.parametrize("name", ["steward", "nobody"])
def test_account_closes_after_too_many_failures(
    steward: Any, settings: Any, name: str
) -> None:
    settings.LOGIN_ATTEMPTS = 3
    for number in range(3):
        _, page = _login(name, "wrong", REMOTE_ADDR=f"10.0.0.{number}")
        assert WRONG in page
    _, page = _login(name, PASSWORD, REMOTE_ADDR="10.0.0.9")
    assert CLOSED in page
    LoginFailure.objects.update(at=timezone.now() - timedelta(hours=1))
    _, page = _login(name, "wrong", REMOTE_ADDR="10.0.0.9")
    assert WRONG in page


def test_address_closes_after_too_many_failures(steward: Any, settings: Any) -> None:
    settings.LOGIN_ATTEMPTS = 3
    for number in range(3):
        _login(f"guess {number}", "wrong")
    client, page = _login("steward", PASSWORD)
    assert CLOSED in page
    assert not _is_in(client)


def test_a_made_up_forwarded_address_does_not_help(steward: Any, settings: Any) -> None:
    settings.LOGIN_ATTEMPTS = 3
    for number in range(3):
        _login(f"guess {number}", "wrong", HTTP_X_FORWARDED_FOR=f"1.2.3.{number}")
    _, page = _login("steward", PASSWORD, HTTP_X_FORWARDED_FOR="9.9.9.9")
    assert CLOSED in page


def test_behind_a_proxy_its_own_word_counts(steward: Any, settings: Any) -> None:
    settings.LOGIN_ATTEMPTS = 3
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    for number in range(3):
        _login("x" * number, "wrong", HTTP_X_FORWARDED_FOR=f"1.2.3.{number}, 5.5.5.5")
        _login("guess", "wrong", HTTP_X_FORWARDED_FOR=f"7.7.7.7, 6.6.6.{number}")
    client, _ = _login("steward", PASSWORD, HTTP_X_FORWARDED_FOR="5.5.5.5, 8.8.8.8")
    assert _is_in(client)


def test_the_session_rotates_at_login(steward: Any) -> None:
    client = Browser()
    client.get("/login/")
    client.session["probe"] = True
    client.session.save()
    before = client.session.session_key
    client.post("/login/", {"username": "steward", "password": PASSWORD})
    assert client.session.session_key != before


def test_a_password_change_ends_other_sessions(steward: Any) -> None:
    here, _ = _login("steward", PASSWORD)
    elsewhere, _ = _login("steward", PASSWORD)
    form = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert here.post("/password/", form).status_code == 302
    assert _is_in(here)
    assert not _is_in(elsewhere)
    assert AuditEvent.objects.filter(action="password.changed").exists()


def test_a_forgotten_password_is_reset_by_mail_once(steward: Any) -> None:
    client = Browser()
    client.post("/password/reset/", {"email": steward.email})
    client.post("/password/reset/", {"email": "nobody@example.org"})
    assert len(mail.outbox) == 1
    link = re.search(r"http://[^/]+(/\S+)", str(mail.outbox[0].body))
    assert link is not None
    page = client.get(link[1], follow=True)
    form = {"new_password1": NEW, "new_password2": NEW}
    client.post(page.redirect_chain[-1][0], form)
    assert _is_in(_login("steward", NEW)[0])
    assert b"no longer works" in Browser().get(link[1], follow=True).content
    assert AuditEvent.objects.filter(action="password.reset").count() == 1


def test_pages_need_a_login(db: None) -> None:
    for path in ("/", "/jobs/", "/ledgers/", "/settings/", "/users/", "/search/"):
        answer = Browser().get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/login/")
    assert Browser().get("/api/v1/me/").status_code == 401
    assert Browser().get("/healthz").status_code == 200
