"""JSON of any shape in a policy's place: a refusal, and never a broken page."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from privacyhub.anonymization import policies, policy_templates
from privacyhub.datasets.errors import DataError

pytestmark = pytest.mark.django_db

ODD: list[Any] = [[], ["k"], {}, {"a": [1]}, 10**400, -1, True, "\0", "\ud800", 0.5]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from places(one, (*path, index))


def replaced(policy: Any, path: tuple[Any, ...], odd: Any) -> Any:
    changed = copy.deepcopy(policy)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = odd
    return changed


def test_an_odd_part_of_a_policy_is_refused_or_kept_as_json(
    register_version: Any, policy: dict[str, Any], steward: Any
) -> None:
    subset = {"column": "sodium", "is": "at_least", "value": "139"}
    whole = policy | {
        "models": [
            *policy["models"],
            {"name": "entropy_l_diversity", "column": "diagnosis", "l": 1.5},
            {"name": "inclusion", "subset": subset},
        ],
        "metric": {"name": "loss", "aggregate": "sum", "weights": {"zip": 2}},
        "method": "full_domain",
        "treatments": {"sodium": {"name": "round_to", "step": 2}},
        "utility_target": "diagnosis",
    }
    frozen = policies.frozen(version=register_version, policy=whole, by=steward)
    policy_templates.shaped(frozen)
    refused = 0  # whatever else is raised fails the test
    for path in places(whole):
        for odd in ODD:
            asked = replaced(whole, path, odd)
            for check in (
                lambda p: policies.frozen(
                    version=register_version, policy=p, by=steward
                ),
                policy_templates.shaped,
            ):
                try:
                    check(asked)
                except DataError:
                    refused += 1
    assert refused > 300
