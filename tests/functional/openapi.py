"""Checks real answers against the OpenAPI document that the hub serves."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import requests
from jsonschema import Draft202012Validator

PROBLEM = "application/problem+json"


class Contract:
    """The document, and how often each of its operations was seen to hold."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._routes = [
            (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path) + "$"), path)
            for path in document["paths"]
        ]
        self.seen: set[tuple[str, str, int]] = set()

    def check(self, answer: requests.Response) -> None:
        """AssertionError where the answer is not what the document promises."""
        method = str(answer.request.method).lower()
        path = self._path(urlsplit(str(answer.request.url)).path)
        operation = self._document["paths"][path].get(method)
        assert operation, f"{method} {path} is not in the document"
        kind = answer.headers.get("Content-Type", "")
        if answer.status_code >= 400:
            assert kind == PROBLEM, f"{method} {path}: {answer.status_code} as {kind}"
            body = answer.json()
            assert {"title", "status", "code"} <= set(body)
            return
        promised = operation["responses"].get(str(answer.status_code))
        assert promised, f"{method} {path}: {answer.status_code} was not promised"
        self.seen.add((method, path, answer.status_code))
        content = promised.get("content", {})
        if "application/json" in content:
            assert kind.startswith("application/json"), f"{method} {path}: {kind}"
            self._validate(content["application/json"]["schema"], answer.json(), path)

    def _path(self, asked: str) -> str:
        # The most literal route wins: /trainings/price/ before /trainings/{id}/.
        fitting = [path for pattern, path in self._routes if pattern.match(asked)]
        assert fitting, f"{asked} is not in the document"
        return min(fitting, key=lambda path: path.count("{"))

    def _validate(self, schema: dict[str, Any], body: Any, path: str) -> None:
        whole = {
            **_nullable(schema),
            "components": _nullable(self._document["components"]),
        }
        errors = list(Draft202012Validator(whole).iter_errors(body))
        told = [f"{path}: {error.json_path}: {error.message[:200]}" for error in errors]
        assert not told, "\n".join(told)


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(schema, list):
        return [_nullable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _nullable(part) for name, part in schema.items()}
    if plain.pop("nullable", False) is True:
        if isinstance(plain.get("type"), str):
            plain["type"] = [plain["type"], "null"]
            if "enum" in plain and None not in plain["enum"]:
                plain["enum"] = [*plain["enum"], None]
            return plain
        return {"anyOf": [plain, {"type": "null"}]}
    return plain
