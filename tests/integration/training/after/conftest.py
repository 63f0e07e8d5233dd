"""A run that will release, and trainings that are ordered on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from privacyhub.anonymization import services as anonymization
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import services as datasets
from privacyhub.datasets.models import Role
from privacyhub.training import recipes
from privacyhub.training import services as training
from privacyhub.training.models import TrainingRun

QUASI = ("birth_date", "zip", "sex", "occupation")
CLASSES = {"classes": ["no", "yes"]}


@pytest.fixture
def policy(register_version: Any) -> dict[str, Any]:
    """4-anonymity over the register's quasi-identifiers; the rest stays as it is."""
    changes = {
        column.name: {
            "role": Role.QUASI_IDENTIFIER if column.name in QUASI else Role.INSENSITIVE
        }
        for column in register_version.columns.all()
        if column.role != Role.IDENTIFIER or column.name in QUASI
    }
    datasets.set_columns(
        version=register_version, changes=changes, by=register_version.created_by
    )
    return {
        "quasi_identifiers": {name: {"hierarchy": "automatic"} for name in QUASI},
        "models": [{"name": "k_anonymity", "k": 4}],
        "suppression_limit": 0.05,
    }


@pytest.fixture
def anonymize(register_version: Any, policy: Any, steward: Any) -> Callable[..., Any]:
    """Queue an anonymization of the register; keyword arguments go to the service."""

    def make(**more: Any) -> AnonymizationRun:
        asked = {"version": register_version, "policy": policy, "by": steward} | more
        return anonymization.submit(**asked)

    return make


@pytest.fixture
def train_after(register_version: Any, steward: Any) -> Callable[..., TrainingRun]:
    """Order a training on a run's release; keyword arguments go into the recipe."""

    def make(run: AnonymizationRun, **asked: Any) -> TrainingRun:
        recipe = recipes.build(
            version=register_version, after=run, request=CLASSES | asked, by=steward
        )
        return training.submit(
            version=register_version,
            after=run,
            recipe=recipe,
            by=steward,
            name="Readmission",
        )

    return make
