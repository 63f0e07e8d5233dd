"""Real answers fit the OpenAPI document."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from privacyhub.datasets import services


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document, with OpenAPI's `nullable` said as JSON Schema says it."""
    told = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(told)
    return _nullable(told)


def _nullable(part: Any) -> Any:
    if isinstance(part, list):
        return [_nullable(one) for one in part]
    if not isinstance(part, dict):
        return part
    plain = {key: _nullable(value) for key, value in part.items()}
    if plain.pop("nullable", False) is True:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain


def _check(document: dict[str, Any], path: str, method: str, answer: Any) -> None:
    operation = document["paths"][f"/api/v1/{path}"][method]
    told = operation["responses"][str(answer.status_code)]
    kind = answer.headers["Content-Type"].split(";")[0]
    schema = told["content"][kind]["schema"]
    whole = {**schema, "components": document["components"]}
    jsonschema.validate(answer.json(), whole)


def test_answers_fit_the_document(
    document: dict[str, Any],
    steward: Any,
    analyst: Any,
    taken_in: Any,
    send: Any,
    api_for: Any,
) -> None:
    version = taken_in(steward)
    services.share(target=version.dataset, user=analyst, right="view", by=steward)
    for user in (steward, analyst):
        client = api_for(user)
        for path in (
            "datasets/",
            "datasets/{id}/",
            "datasets/{id}/grants/",
            "datasets/{id}/erase/",
            "versions/",
            "versions/{id}/",
            "versions/{id}/columns/",
            "versions/{id}/profile/",
            "versions/{id}/preview/",
            "versions/{id}/budget/",
        ):
            pk = version.dataset_id if path.startswith("datasets") else version.pk
            answer = client.get("/api/v1/" + path.format(id=pk))
            _check(document, path, "get", answer)
    client = api_for(steward)
    base = f"/api/v1/versions/{version.pk}"
    body = {"sick": {"is_target": True}}
    answer = client.patch(f"{base}/columns/", body, format="json")
    _check(document, "versions/{id}/columns/", "patch", answer)
    body = {"declared_units": 60, "epsilon_cap": "2"}
    answer = client.put(f"{base}/budget/", body, format="json")
    _check(document, "versions/{id}/budget/", "put", answer)
    answer = client.put(f"{base}/budget/", {}, format="json")
    _check(document, "versions/{id}/budget/", "put", answer)
    answer = client.get(f"{base}/risk/", {"columns": "age"})
    _check(document, "versions/{id}/risk/", "get", answer)
    body = {"user": "other", "right": "view"}
    path = f"/api/v1/datasets/{version.dataset_id}/share/"
    _check(document, "datasets/{id}/share/", "post", client.post(path, body, "json"))
    _check(document, "datasets/", "post", send(steward, b"a\n1\n"))
    _check(document, "datasets/", "post", send(steward, b"a,a\n1,2\n"))
