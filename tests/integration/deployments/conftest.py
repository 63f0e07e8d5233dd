"""The training tests' quick model serves here as well."""

from __future__ import annotations

from tests.integration.training.conftest import (  # noqa: F401
    model_version,
    quick_engine,
    submit,
)
