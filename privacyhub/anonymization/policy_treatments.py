"""The treatments of a policy's columns: checked when it is frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privacyhub.anonymization import policy_checks as check
from privacyhub.anonymization.vocabulary import TREATMENTS
from privacyhub.anonymization.vocabulary_treatments import AGGREGATE
from privacyhub.datasets.models import Version
from privacyhub.engines.tables import Kind

MOST_AGGREGATED_ROWS = 50_000
"""Microaggregation takes time that grows with the square of the rows."""


def frozen(
    given: Any, *, version: Version, roles: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The treatments in full, or DataError naming the column."""
    named = check.mapping(given, name="“treatments”")
    if not named:
        return {}
    kinds = dict(version.columns.values_list("name", "kind"))
    found = {
        str(name): _treatment(str(name), entry, roles=roles, kinds=kinds)
        for name, entry in named.items()
    }
    aggregated = any(entry["name"] == "microaggregate" for entry in found.values())
    if aggregated and version.rows > MOST_AGGREGATED_ROWS:
        raise check.wrong(
            f"Microaggregation takes tables of at most {MOST_AGGREGATED_ROWS:,} rows; "
            f"this one has {version.rows:,}.",
            code="treatment",
        )
    return found


def _treatment(
    name: str, given: Any, *, roles: Mapping[str, str], kinds: Mapping[str, str]
) -> dict[str, Any]:
    entry = check.mapping(given, name=f"Column “{name}”")
    if name not in roles:
        raise check.wrong(
            f"This version has no column “{name}”.", code="no_column", column=name
        )
    kind = TREATMENTS.get(str(entry.get("name")))
    if kind is None:
        raise check.wrong(
            f"A treatment is one of {', '.join(TREATMENTS)}.",
            code="treatment",
            column=name,
        )
    if not kind.fits(role=roles[name], kind=kinds[name]):
        raise check.wrong(
            f"Column “{name}”: {kind.label.lower()} does not fit its role or its kind.",
            code="treatment",
            column=name,
        )
    unknown = set(entry) - {"name", *(p.name for p in kind.parameters)}
    if unknown:
        raise check.wrong(
            f"{kind.label} has no “{min(map(str, unknown))}”.",
            code="treatment",
            column=name,
        )
    of = f"Column “{name}”, {kind.label.lower()}"
    told = {"name": kind.name} | {
        p.name: check.parameter(entry.get(p.name), declared=p, of=of, code="treatment")
        for p in kind.parameters
    }
    _check_bounds(told, column=name)
    _check_aggregate(told, column=name, kind=kinds[name])
    if kind.name == "pseudonym" and not told["domain"]:
        told["domain"] = name
    return told


def _check_aggregate(told: Mapping[str, Any], *, column: str, kind: str) -> None:
    if told["name"] != AGGREGATE or told["aggregate"] == "mode":
        return
    if not Kind(kind).is_numeric:
        raise check.wrong(
            f"Column “{column}” does not hold numbers: only its mode can be shown.",
            code="treatment",
            column=column,
        )


def _check_bounds(told: Mapping[str, Any], *, column: str) -> None:
    if told["name"] != "code_extremes":
        return
    bottom, top = told["bottom"], told["top"]
    if bottom is None and top is None:
        raise check.wrong(
            f"Column “{column}”: give a lower bound, an upper bound, or both.",
            code="treatment",
            column=column,
        )
    if bottom is not None and top is not None and bottom > top:
        raise check.wrong(
            f"Column “{column}”: the lower bound must not be above the upper bound.",
            code="treatment",
            column=column,
        )
