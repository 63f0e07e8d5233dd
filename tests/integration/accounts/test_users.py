"""Users and tokens: who makes them, what ends them, what is on record."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from jobs import services as jobs
from privacyhub.accounts import services, tokens
from privacyhub.accounts.errors import AccountError
from privacyhub.accounts.models import ApiToken, User
from privacyhub.accounts.roles import NotAllowed
from privacyhub.governance.models import AuditEvent

from .conftest import Browser

NEW_USER = {"username": "ada", "email": "ada@example.org", "role": "steward"}


def _with(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def test_admin_makes_a_user_who_sets_a_password(admin: Any, client_for: Any) -> None:
    page = client_for(admin).post("/users/", NEW_USER)
    link = re.search(
        r"http://testserver(/password/reset/\S+?/)<", page.content.decode()
    )
    assert link is not None
    theirs = Browser()
    form_url = theirs.get(link[1], follow=True).redirect_chain[-1][0]
    secret = "quite a long one 3"
    theirs.post(form_url, {"new_password1": secret, "new_password2": secret})
    assert theirs.login(username="ada", password=secret)
    actions = AuditEvent.objects.values_list("action", flat=True)
    assert {"user.create", "user.reset_link", "password.reset"} <= set(actions)


@pytest.mark.parametrize("role", ["steward", "analyst", "auditor"])
def test_only_an_admin_manages_users(
    request: pytest.FixtureRequest, client_for: Any, api_for: Any, role: str
) -> None:
    user = request.getfixturevalue(role)
    client, api = client_for(user), api_for(user)
    assert client.get("/users/").status_code == 403
    assert client.post("/users/", NEW_USER).status_code == 403
    assert client.post(f"/users/{user.pk}/role/", {"role": "admin"}).status_code == 403
    assert api.get("/api/v1/users/").status_code == 403
    assert api.post("/api/v1/users/", NEW_USER).status_code == 403
    assert api.patch(f"/api/v1/users/{user.pk}/", {"role": "admin"}).status_code == 403
    with pytest.raises(NotAllowed):
        services.set_role(user=user, role="admin", by=user)
    assert not User.objects.filter(username="ada").exists()


def test_names_differ_by_more_than_case(admin: Any) -> None:
    services.create_user(**NEW_USER, by=admin)
    with pytest.raises(AccountError, match="exists already"):
        services.create_user(**{**NEW_USER, "username": "ADA"}, by=admin)


def test_nobody_changes_their_own_role_or_closes_themselves(admin: Any) -> None:
    with pytest.raises(AccountError, match="own role"):
        services.set_role(user=admin, role="steward", by=admin)
    with pytest.raises(AccountError, match="own account"):
        services.deactivate(user=admin, by=admin)


def test_closing_an_account_ends_sessions_and_tokens(
    admin: Any, steward: Any, client_for: Any
) -> None:
    session = client_for(steward)
    _, token = tokens.create(user=steward, name="script")
    api = _with(token)
    assert session.get("/settings/").status_code == 200
    assert api.get("/api/v1/me/").status_code == 200
    services.deactivate(user=steward, by=admin)
    assert session.get("/settings/").status_code == 302
    assert api.get("/api/v1/me/").status_code == 401
    services.activate(user=steward, by=admin)
    assert session.get("/settings/").status_code == 302
    assert api.get("/api/v1/me/").status_code == 401


def test_a_token_is_shown_once_and_stored_hashed(steward: Any, client_for: Any) -> None:
    client = client_for(steward)
    form = {"name": "nightly", "scope": "read", "days": "30"}
    page = client.post("/settings/tokens/", form).content.decode()
    found = re.search(r"phub_[\w-]{40,}", page)
    assert found is not None
    assert _with(found[0]).get("/api/v1/me/").json()["username"] == "steward"
    again = client.get("/settings/?tab=tokens").content.decode()
    assert found[0] not in again
    row = ApiToken.objects.get()
    assert found[0] not in str(row.__dict__)
    assert AuditEvent.objects.filter(action="token.create").exists()


def test_a_read_token_only_reads(steward: Any) -> None:
    _, token = tokens.create(user=steward, name="reader", scope="read")
    api = _with(token)
    assert api.get("/api/v1/jobs/").status_code == 200
    assert api.post("/api/v1/jobs/", {"kind": "nothing"}).status_code == 403


def test_a_token_expires_and_is_revoked(steward: Any) -> None:
    row, token = tokens.create(user=steward, name="short", days=1)
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert _with(token).get("/api/v1/me/").status_code == 401
    row, token = tokens.create(user=steward, name="other")
    assert _with(token).delete(f"/api/v1/me/tokens/{row.pk}/").status_code == 204
    assert _with(token).get("/api/v1/me/").status_code == 401


def test_a_foreign_token_cannot_be_revoked(
    steward: Any, analyst: Any, client_for: Any, api_for: Any
) -> None:
    row, token = tokens.create(user=steward, name="mine")
    assert (
        client_for(analyst).post(f"/settings/tokens/{row.pk}/revoke/").status_code
        == 404
    )
    assert api_for(analyst).delete(f"/api/v1/me/tokens/{row.pk}/").status_code == 404
    assert _with(token).get("/api/v1/me/").status_code == 200


def test_refused_access_to_a_named_object_is_on_record(
    steward: Any, client_for: Any, api_for: Any
) -> None:
    foreign = uuid.uuid4()
    client_for(steward).get(f"/jobs/{foreign}/")
    api_for(steward).get(f"/api/v1/ledgers/{foreign}/")
    client_for(steward).get("/no-such-page/")
    refused = AuditEvent.objects.filter(action="access.refused")
    assert [(r.object_type, r.object_id) for r in refused.order_by("sequence")] == [
        ("web:job", str(foreign)),
        ("api:ledger", str(foreign)),
    ]
    assert refused[0].actor == "steward"


def test_profile_and_notices_are_saved(steward: Any, client_for: Any) -> None:
    client = client_for(steward)
    form = {"first_name": "Ada", "last_name": "L", "email": ""}
    assert client.post("/settings/profile/", form).status_code == 302
    refused = client.post("/settings/notifications/", {"notify_by_mail": "on"})
    assert refused.status_code == 400
    steward.refresh_from_db()
    assert (str(steward), steward.notify_by_mail) == ("Ada L", False)


def test_a_finished_job_is_told_by_mail_when_asked(
    steward: Any,
    run_jobs: Any,
    mailoutbox: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    steward.notify_by_mail = True
    steward.save()
    with django_capture_on_commit_callbacks(execute=True):
        jobs.submit(kind="nothing", title="Secret", owner=steward, spec={})
        run_jobs()
    assert len(mailoutbox) == 1
    assert "Secret" not in mailoutbox[0].subject + mailoutbox[0].body
