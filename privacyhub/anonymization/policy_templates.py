"""Policies kept under a name, and policies as JSON files.

A template names columns and parameters, and no values. Applied to another dataset it
fills the form for the columns that both have; the run checks the rest.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction

from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.anonymization import policies, policy_seals
from privacyhub.anonymization.models import PolicyTemplate
from privacyhub.anonymization.policy_checks import AUTOMATIC, is_one, storable
from privacyhub.anonymization.vocabulary import METHODS, METRICS, MODELS, TREATMENTS
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.governance import audit

MOST_BYTES = 200_000
# Where a model's rows come from: one of these says it.
_SOURCES = {
    "subset": frozenset({"version", "column"}),
    "population": frozenset({"version", "people"}),
}


@transaction.atomic
def save(*, name: str, policy: Any, by: Any) -> PolicyTemplate:
    """Keep a policy. Raises DataError where it is none."""
    if not by.may(Permission.MANAGE_DATA):
        raise NotAllowed
    title = name.strip()
    if not title or len(title) > 200:
        raise DataError("A name has 1 to 200 characters.", code="name")
    kept = shaped(policy)
    kept["models"] = policy_seals.without(kept["models"])
    template = PolicyTemplate.objects.create(name=title, owner=by, policy=kept)
    audit.record(actor=by, action="policy_template.save", target=template, name=title)
    return template


@transaction.atomic
def delete(*, template: PolicyTemplate, by: Any) -> None:
    """Forget a template; runs keep their own copy of it."""
    if template.owner_id != by.pk:
        raise NotAllowed("Only its owner can delete a template.")
    audit.record(actor=by, action="policy_template.delete", target=template)
    template.delete()


def parse(content: bytes) -> dict[str, Any]:
    """A policy from a JSON file, or DataError."""
    if len(content) > MOST_BYTES:
        raise _wrong(f"A policy has at most {MOST_BYTES // 1000} kB.")
    try:
        found = json.loads(content.decode("utf-8-sig"), parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _wrong("This is not a JSON file.") from error
    return shaped(found)


def _no_constant(_: str) -> None:
    raise ValueError


def shaped(policy: Any) -> dict[str, Any]:
    """A policy whose parts are of the right shape, with what was left out.

    Whether it fits is checked against a version when a run is asked for.
    """
    if not isinstance(policy, dict):
        raise _wrong("A policy must be an object.")
    storable(policy)
    told = {key: value for key, value in policy.items() if key in policies.KEYS}
    if told.setdefault("schema", policies.SCHEMA) != policies.SCHEMA:
        raise _wrong(f"Only policies of schema {policies.SCHEMA} are known.")
    columns = _objects(told.setdefault("quasi_identifiers", {}), "quasi_identifiers")
    told["quasi_identifiers"] = {
        name: {"hierarchy": str((entry or {}).get("hierarchy", AUTOMATIC))}
        for name, entry in columns.items()
    }
    models = told.setdefault("models", [])
    if not isinstance(models, list):
        raise _wrong("“models” must be a list.")
    for entry in models:
        _named(entry, MODELS, "A model")
    metric = told.setdefault("metric", {"name": "loss"})
    _named(
        {"name": "loss"} | metric if isinstance(metric, dict) else metric,
        METRICS,
        "A metric",
    )
    told["metric"] = {"name": "loss"} | metric
    _weights(told["metric"])
    limit = told.setdefault("suppression_limit", 0.0)
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise _wrong("“suppression_limit” must be a number.")
    if not is_one(told.setdefault("method", policies.FULL_DOMAIN), METHODS):
        raise _wrong(f"A method is one of {', '.join(METHODS)}.")
    seconds = told.setdefault("time_limit", policies.DEFAULT_TIME_LIMIT)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _wrong("“time_limit” must be a number.")
    for entry in _objects(told.setdefault("treatments", {}), "treatments").values():
        _named(entry, TREATMENTS, "A treatment")
    target = told.setdefault("utility_target", None)
    if target is not None and not isinstance(target, str):
        raise _wrong("“utility_target” must be a column.")
    return told


def _objects(given: Any, key: str) -> dict[str, Any]:
    known = isinstance(given, dict) and all(
        entry is None or isinstance(entry, dict) for entry in given.values()
    )
    if not known:
        raise _wrong(f"“{key}” must be an object of objects.")
    found: dict[str, Any] = given
    return found


def _named(entry: Any, vocabulary: Any, what: str) -> None:
    if not isinstance(entry, dict) or not is_one(entry.get("name"), vocabulary):
        raise _wrong(f"{what} is one of {', '.join(vocabulary)}.")
    for key, parts in _SOURCES.items():
        source = entry.get(key)
        if source is None:
            continue
        if not isinstance(source, dict) or parts.isdisjoint(source):
            raise _wrong(
                f"“{key}” must be an object with {' or '.join(sorted(parts))}."
            )


def _weights(metric: dict[str, Any]) -> None:
    weights = _mapping(metric.get("weights", {}))
    numbers = [*weights.values(), metric.get("suppression_factor", 0.5)]
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise _wrong("Weights and the suppression factor must be numbers.")


def _mapping(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _wrong("“weights” must be an object.")
    return given


def differences(*, version: Version, policy: dict[str, Any]) -> list[str]:
    """Where a policy and a version's columns do not meet, for a person to read."""
    roles = policies.roles_of(version)
    named = list(policy["quasi_identifiers"])
    telling = [name for name, role in roles.items() if role == Role.QUASI_IDENTIFIER]
    lines = [
        f"Column “{name}” of the policy is no quasi-identifier of this version: it was "
        "left out."
        for name in named
        if name not in telling
    ]
    lines += [
        f"Column “{name}” is a quasi-identifier that the policy does not name: its "
        "hierarchy is automatic."
        for name in telling
        if name not in named
    ]
    return lines


def _wrong(message: str) -> DataError:
    return DataError(message, code="policy")
