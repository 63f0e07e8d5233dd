"""What is read of a profile, which holds values, has its class on the ledger too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from privacyhub.anonymization import policies
from privacyhub.datasets import reads, services
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.governance import entries
from privacyhub.governance.models import LedgerEntry
from privacyhub.training import recipes
from privacyhub.training.forms import TargetForm
from privacyhub.training.sources import Source


def _looks(by: Any) -> list[tuple[str, str]]:
    lines = LedgerEntry.objects.filter(actor=by.username).order_by("number")
    return list(lines.values_list("kind", "purpose"))


def _profile(version: Version, by: Any) -> None:
    reads.profile(version=version, by=by)


def _recipe(version: Version, by: Any) -> None:
    recipes.build(version=version, request={"target": "diagnosis"}, by=by)


def _wizard(version: Version, by: Any) -> None:
    source = Source(version=version)
    TargetForm(source=source, by=by, initial={"target": "diagnosis"})


def _policy(version: Version, by: Any) -> None:
    version.columns.filter(role=Role.QUASI_IDENTIFIER).update(role=Role.INSENSITIVE)
    version.columns.filter(name="diagnosis").update(role=Role.SENSITIVE)
    version.columns.filter(name="sex").update(role=Role.QUASI_IDENTIFIER)
    policy = {
        "quasi_identifiers": {"sex": {"hierarchy": "automatic"}},
        "models": [{"name": "distinct_l_diversity", "column": "diagnosis", "l": 500}],
    }
    with pytest.raises(DataError, match="has only"):
        policies.frozen(version=version, policy=policy, by=by)


def _target(version: Version, by: Any) -> None:
    changes = {"patient_id": {"is_target": True}}
    with pytest.raises(DataError):
        services.set_columns(version=version, changes=changes, by=by)


@pytest.mark.parametrize(
    ("read", "purpose"),
    [
        (_profile, "profile"),
        (_recipe, "classes of the target"),
        (_wizard, "classes of the target"),
        (_policy, "values of a column"),
        (_target, "check the target"),
    ],
)
def test_a_look_at_the_profile_is_on_the_ledger(
    register_version: Version,
    auditor: Any,
    read: Callable[[Version, Any], None],
    purpose: str,
) -> None:
    assert _looks(auditor) == []
    read(register_version, auditor)
    assert _looks(auditor) == [("steward_read", purpose)]


def test_a_look_is_noted_once_an_hour_for_each_person_and_purpose(
    register_version: Version,
    auditor: Any,
    steward: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = len(_looks(steward))
    for _ in range(3):
        _profile(register_version, auditor)
        _wizard(register_version, auditor)
        _wizard(register_version, steward)
    assert [purpose for _, purpose in _looks(auditor)] == [
        "profile",
        "classes of the target",
    ]
    assert len(_looks(steward)) == before + 1
    monkeypatch.setattr(entries, "NOTED_AGAIN", timedelta(0))
    _profile(register_version, auditor)
    assert len(_looks(auditor)) == 3
