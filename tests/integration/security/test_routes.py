"""Who reaches what, over every route that the resolver knows.

A new route is covered by itself; one that names a new kind of object fails here until
`owned` holds such an object.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from privacyhub.datasets import services, tables
from privacyhub.training import services as training
from tests.integration.published_model import EXACT_AUC

METHODS = ("get", "post", "put", "patch", "delete")
PUBLIC = {
    "api/schema/",  # the document and its page: they hold no data
    "api/docs/",
    "healthz",
    "readyz",
    "login/",
    "password/reset/",
    "password/reset/sent/",
    "password/reset/<uidb64>/<token>/",
    "password/reset/complete/",
}
# Asked by machines, which have a token and no login.
BY_TOKEN = {"metrics"}
# Administrators look after the queue: they see jobs, and change none.
SEEN_BY_ADMIN = {"jobs"}
ABSENT = {404, 405}


def _call(client: Any, method: str, address: str, *, is_api: bool) -> Any:
    kind = {"content_type": "application/json"} if is_api and method != "get" else {}
    data = {} if method in {"get", "post"} and not is_api else None
    if is_api and method != "get":
        return client.generic(method.upper(), address, b"{}", **kind)
    return getattr(client, method)(address, data)


@pytest.mark.parametrize("role", ["other_steward", "analyst", "admin"])
def test_foreign_object_looks_like_a_missing_one(
    role: str,
    request: pytest.FixtureRequest,
    routes: list[Any],
    owned: dict[str, Any],
    client_for: Callable[[Any], Any],
) -> None:
    client = client_for(request.getfixturevalue(role))
    wrong = []
    for route in routes:
        if not route.names_object or (role == "admin" and route.kind in SEEN_BY_ADMIN):
            continue
        for method in METHODS:
            foreign = _call(
                client,
                method,
                route.address(owned[route.kind].pk),
                is_api=route.is_api,
            )
            missing = _call(client, method, route.address(), is_api=route.is_api)
            told = (method, route.pattern, foreign.status_code, missing.status_code)
            if route.kind == "users":  # a matter of role alone
                fits = role == "admin" or foreign.status_code in ABSENT | {403}
            else:
                # A body may be refused before the object is looked for.
                fits = foreign.status_code in ABSENT | {400}
                fits &= foreign.status_code == missing.status_code
            if fits and route.is_api and route.kind != "users":
                fits = foreign.content == missing.content
            if not fits:
                wrong.append(told)
    assert not wrong, wrong


def test_only_the_public_pages_answer_without_a_login(
    routes: list[Any], db: None
) -> None:
    client = Client()
    wrong = []
    for route in routes:
        for method in METHODS:
            status = _call(
                client, method, route.address(), is_api=route.is_api
            ).status_code
            if route.pattern in PUBLIC:
                fits = status in {200, 403, 405, 503}
            elif route.is_api:
                fits = status == 401
            elif route.pattern in BY_TOKEN:
                fits = status in {401, 405}
            else:
                fits = status in {302, 405}
            if not fits:
                wrong.append((method, route.pattern, status))
    assert not wrong, wrong


def test_each_post_of_a_session_needs_the_csrf_token(
    routes: list[Any], owned: dict[str, Any], steward: Any
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(steward)
    wrong = []
    for route in routes:
        pk = owned[route.kind].pk if route.names_object else None
        for method in METHODS[1:]:
            answer = _call(client, method, route.address(pk), is_api=route.is_api)
            if answer.status_code not in {403, 405}:
                wrong.append((method, route.pattern, answer.status_code))
    assert not wrong, wrong


def test_read_only_token_changes_nothing(
    routes: list[Any],
    owned: dict[str, Any],
    steward: Any,
    api_for: Callable[..., Any],
) -> None:
    client = api_for(steward, scope="read")
    wrong = []
    for route in (one for one in routes if one.is_api):
        pk = owned[route.kind].pk if route.names_object else None
        for method in METHODS[1:]:
            answer = _call(client, method, route.address(pk), is_api=True)
            if answer.status_code != 403:
                wrong.append((method, route.pattern, answer.status_code))
    assert not wrong, wrong


# What a look leaves behind: that it was made.
RECORDS = {
    "AuditEvent",
    "AuditHead",
    "LedgerEntry",
    "Session",
    "ApiToken",
    "TrainingDraft",
}


def test_get_changes_nothing(
    routes: list[Any],
    owned: dict[str, Any],
    steward: Any,
    client_for: Callable[[Any], Any],
) -> None:
    client = client_for(steward)
    before = _everything()
    broken = []
    for route in routes:
        pk = owned[route.kind].pk if route.names_object else None
        if pk is not None and route.kind in {"hierarchies", "anonymizations"}:
            continue  # bare rows here: their own tests open them
        answer = client.get(route.address(pk))
        if answer.status_code >= 500 and route.pattern != "readyz":
            broken.append((route.pattern, answer.status_code))
    assert not broken, broken
    assert _everything() == before


def _everything() -> dict[str, list[Any]]:
    return {
        model.__name__: sorted(map(str, model._default_manager.values_list()))
        for model in apps.get_models()
        if model.__name__ not in RECORDS
    }


def test_analyst_sees_no_cell_and_no_exact_figure(
    routes: list[Any],
    owned: dict[str, Any],
    steward: Any,
    analyst: Any,
    client_for: Callable[[Any], Any],
) -> None:
    version = owned["versions"]
    services.share(target=version.dataset, user=analyst, right="view", by=steward)
    training.share(model=owned["models"], user=analyst, right="use", by=steward)
    frame = tables.load(version)
    canaries = [str(EXACT_AUC)[:8]]
    for column in ("name", "email", "record_number"):
        canaries += [str(value) for value in frame[column].drop_nulls().head(200)]
    client = client_for(analyst)
    leaks, opened = [], 0
    for route in routes:
        pk = owned[route.kind].pk if route.names_object else None
        answer = client.get(route.address(pk))
        if answer.status_code != 200 or answer.streaming:
            continue
        opened += 1
        text = answer.content.decode(errors="replace")
        leaks += [(route.pattern, one) for one in canaries if one in text]
    assert opened > 30
    assert not leaks, leaks
    told = client.get(f"/api/v1/versions/{version.pk}/").json()
    hidden = ("rows", "size", "checks", "ledgers")
    assert {told[name] for name in hidden} == {None}


def test_exact_figures_reach_their_steward(
    owned: dict[str, Any], steward: Any, client_for: Callable[[Any], Any]
) -> None:
    """The test above looks for what is there."""
    answer = client_for(steward).get(f"/api/v1/assessments/{owned['assessments'].pk}/")
    assert str(EXACT_AUC)[:8] in answer.content.decode()


def test_answers_are_not_kept_by_caches(
    owned: dict[str, Any], steward: Any, client_for: Callable[[Any], Any]
) -> None:
    client = client_for(steward)
    for address in (f"/versions/{owned['versions'].pk}/", "/api/v1/me/", "/nowhere/"):
        assert client.get(address).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("field", ["owner", "erased_at", "id"])
def test_fields_of_no_form_are_not_set(
    field: str,
    owned: dict[str, Any],
    steward: Any,
    analyst: Any,
    client_for: Callable[[Any], Any],
) -> None:
    dataset = owned["datasets"]
    wanted = {"owner": str(analyst.pk), "erased_at": "2026-01-01", "id": uuid.uuid4()}
    before = getattr(dataset, field)
    client_for(steward).patch(
        f"/api/v1/datasets/{dataset.pk}/",
        {"description": "new", field: str(wanted[field])},
        content_type="application/json",
    )
    dataset.refresh_from_db()
    assert (dataset.description, getattr(dataset, field)) == ("new", before)
