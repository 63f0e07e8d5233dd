"""A published model for the reports."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.published_model import publish_model


@pytest.fixture
def model_version(register_version: Any, steward: Any) -> Any:
    return publish_model(version=register_version, by=steward)
