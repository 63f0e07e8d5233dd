"""The OpenAPI document is valid and says one thing under one name."""

from __future__ import annotations

from pathlib import Path

from django.core.management import call_command


def test_openapi_document_is_made_without_a_warning(tmp_path: Path) -> None:
    call_command(
        "spectacular",
        "--validate",
        "--fail-on-warn",
        file=str(tmp_path / "schema.yml"),
    )
