"""Bodies that no client of ours sends: answered 4xx, whatever the endpoint."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client, override_settings
from drf_spectacular.generators import SchemaGenerator

from privacyhub.datasets import services
from privacyhub.datasets.errors import DataError
from privacyhub.governance import ledger
from privacyhub.governance.ledger import LedgerError
from privacyhub.training import recipes

ODD = {
    "list": b"[1]",
    "null": b"null",
    "text": b'"x"',
    "nan": b'{"rating": NaN}',
    "overflow": b'{"rating": 1e999}',
    "deep": b"[" * 100_000,
    "surrogate": b'{"name": "\\ud800"}',
    "nul": b'{"name": {"a": ["\\u0000"]}}',
    "not utf-8": b'{"name": "\xff"}',
    "cut": b'{"name": ',
}


def _operations() -> list[tuple[str, str, bool]]:
    """(method, path, takes JSON) of every unsafe operation of the document."""
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    return [
        (method, path, "application/json" in _content(operation))
        for path, found in paths.items()
        for method, operation in found.items()
        if method in {"post", "put", "patch"}
    ]


def _content(operation: dict[str, Any]) -> dict[str, Any]:
    return operation.get("requestBody", {}).get("content", {})


@pytest.mark.parametrize("name", ODD)
def test_odd_body_is_refused_by_every_endpoint(
    name: str, owned: dict[str, Any], steward: Any, api_for: Callable[..., Any]
) -> None:
    client = api_for(steward)
    wrong = []
    for method, path, takes_json in _operations():
        kind = path.split("/")[3]
        address = path.replace("{id}", str(owned[kind].pk) if "{id}" in path else "")
        answer = client.generic(
            method.upper(),
            address,
            ODD[name],
            content_type="application/json",
            HTTP_IDEMPOTENCY_KEY=str(uuid.uuid4()),
        )
        fits = answer.status_code < 500
        if takes_json and answer.status_code != 403:  # the role came first
            fits = answer.status_code == 400
        if not fits:
            wrong.append((method, path, answer.status_code))
    assert wrong == []


def test_json_body_has_a_limit(steward: Any, api_for: Callable[..., Any]) -> None:
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=2**20):
        answer = api_for(steward).post(
            "/api/v1/jobs/", {"kind": "x" * 2**20}, format="json"
        )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("header", [b"Bearer \xff", b"Bearer ", b"\xff", b"Basic eDp5"])
def test_what_is_no_token_is_401(header: bytes, db: None) -> None:
    answer = Client().get("/api/v1/me/", HTTP_AUTHORIZATION=header.decode("latin-1"))
    assert answer.status_code == 401


def test_token_in_the_address_counts_for_nothing(steward: Any) -> None:
    from privacyhub.accounts import tokens

    _, token = tokens.create(user=steward, name="x")
    assert Client().get("/api/v1/me/", {"token": token}).status_code == 401


@pytest.mark.parametrize("address", ["/login/", "/datasets/upload/", "/nowhere/"])
def test_file_of_a_stranger_is_403(address: str, db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.get("/login/")  # with the cookie, the form is looked at for its token
    answer = client.post(address, _form())
    assert answer.status_code in {403, 404}
    if address != "/nowhere/":
        assert "Sign in first." in answer.content.decode()


def _form() -> dict[str, Any]:
    from django.core.files.uploadedfile import SimpleUploadedFile

    return {"file": SimpleUploadedFile("a.csv", b"a\n" + b"1\n" * 1_000_000)}


def test_file_that_is_too_large_is_413_on_a_page(steward: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(steward)
    client.get("/datasets/upload/")
    with override_settings(MAX_UPLOAD_BYTES=2**20):
        answer = client.post("/datasets/upload/", _form())
    assert answer.status_code == 413
    assert "larger than 1 MB" in answer.content.decode()


@pytest.mark.parametrize("cap", ["1e999", "1001", "9" * 39, "NaN", "-1"])
def test_cap_out_of_range_is_never_asked_for(
    cap: str, register_version: Any, steward: Any
) -> None:
    account = services.the_ledger(register_version)
    with pytest.raises(LedgerError):
        ledger.request_raise(ledger=account, epsilon_cap=cap, reason="more", by=steward)


@pytest.mark.parametrize(
    "asked",
    [
        {"epsilon": "1e999"},
        {"epsilon": "1e-300"},
        {"metrics_epsilon": "1e999"},
        {"metrics_epsilon": "1e-300"},
        {"settings": {"epochs": 1e308}},
        {"settings": {"hidden": [10**9]}},
        {"settings": {"hidden": [8] * 9}},
    ],
)
def test_training_out_of_range_has_no_price(
    asked: dict[str, Any], register_version: Any, steward: Any, api_for: Any
) -> None:
    answer = api_for(steward).post(
        "/api/v1/trainings/price/",
        {"version": str(register_version.pk), **asked},
        format="json",
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("amount", ["1e999", "1e-16", "1001"])
def test_amount_out_of_range_is_refused(amount: str) -> None:
    with pytest.raises(DataError):
        recipes.positive(amount, name="Epsilon", code="epsilon")


@pytest.mark.parametrize("query", ["offset=" + "9" * 30, "offset=-1", "rows=9999999"])
def test_preview_out_of_range_is_400(
    query: str, register_version: Any, steward: Any, api_for: Any
) -> None:
    address = f"/api/v1/versions/{register_version.pk}/preview/?{query}"
    assert api_for(steward).get(address).status_code == 400


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example"]
)
def test_login_sends_nobody_elsewhere(target: str, steward: Any) -> None:
    form = {"username": "steward", "password": "a long password 1", "next": target}
    kind = "application/x-www-form-urlencoded"
    answer = Client().post(f"/login/?next={target}", urlencode(form), content_type=kind)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
