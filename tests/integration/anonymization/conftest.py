"""A policy for the register, and a run that has released."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def policy(register_version: Any) -> dict[str, Any]:
    """4-anonymity over the register's quasi-identifiers, two diagnoses in a group."""
    from privacyhub.datasets import services
    from privacyhub.datasets.models import Role

    quasi = ("birth_date", "zip", "sex", "occupation")
    changes = {name: {"role": Role.QUASI_IDENTIFIER} for name in quasi}
    changes["diagnosis"] = {"role": Role.SENSITIVE}
    services.set_columns(
        version=register_version,
        changes={
            column.name: changes.get(column.name, {"role": Role.INSENSITIVE})
            for column in register_version.columns.all()
            if column.role != Role.IDENTIFIER or column.name in changes
        },
        by=register_version.created_by,
    )
    return {
        "quasi_identifiers": {name: {"hierarchy": "automatic"} for name in quasi},
        "models": [
            {"name": "k_anonymity", "k": 4},
            {"name": "distinct_l_diversity", "column": "diagnosis", "l": 2},
        ],
        "suppression_limit": 0.05,
    }


@pytest.fixture
def released(
    register_version: Any,
    policy: dict[str, Any],
    steward: Any,
    run_jobs: Callable[[], None],
) -> Any:
    """The run of `policy`, done by the real job."""
    from privacyhub.anonymization import services

    run = services.submit(version=register_version, policy=policy, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    return run
