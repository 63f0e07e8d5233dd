"""The privacy models of a policy: checked when it is frozen, built in the worker.

Some need more than numbers, under these keys:

    "hierarchy": "automatic" or the id of an uploaded one
    "subset": {"version": "<id>"} or {"column": "study", "is": "equals", "value": "yes"}
        (`policy_seals` puts "sealed" in place of "value")
    "population": {"people": 250000} or {"version": "<id>"}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import polars as pl

from privacyhub.anonymization import policy_checks as check
from privacyhub.anonymization import policy_seals
from privacyhub.anonymization.vocabulary import MODELS, ModelKind, Need
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.engines import anonymize as an

MOST_MODELS = 12
COMPARISONS = {
    "equals": "is",
    "differs": "is not",
    "at_least": "is at least",
    "at_most": "is at most",
}
MOST_VALUE = 200
MOST_PEOPLE = 20_000_000_000

# What stands for the inputs that only a worker has, to check the numbers.
_STAND_INS: dict[Need, Any] = {
    Need.HIERARCHY: an.Hierarchy.suppress(["value"]),
    Need.SUBSET: [],
    Need.POPULATION: MOST_PEOPLE,
}


def frozen(
    given: Any, *, version: Version, roles: Mapping[str, str], by: Any
) -> list[dict[str, Any]]:
    """The models in full, or DataError naming what is wrong."""
    if not isinstance(given, list) or not given:
        raise check.wrong("Name at least one privacy model.", code="no_model")
    if len(given) > MOST_MODELS:
        raise check.wrong(f"A policy has at most {MOST_MODELS} models.")
    found = [_model(entry, version=version, roles=roles, by=by) for entry in given]
    for entry in found:
        _check_size(entry, version=version, by=by)
        stand_ins = {need: _STAND_INS[need] for need in MODELS[entry["name"]].needs}
        try:
            built(entry, inputs=stand_ins)
        except an.AnonymizeError as error:
            raise check.wrong(str(error), code="model") from error
    if any(found.count(entry) > 1 for entry in found):
        raise check.wrong("A model is named twice.", code="model")
    _check_together(found)
    return policy_seals.sealed(found, version=version)


def built(entry: Mapping[str, Any], *, inputs: Mapping[Need, Any]) -> an.Model:
    """A model as the engine takes it; `inputs` are what it needs besides numbers."""
    kind = MODELS[entry["name"]]
    told = {
        key: value
        for key, value in entry.items()
        if key != "name" and key not in kind.needs
    }
    needed = {str(need): inputs.get(need) for need in kind.needs}
    return kind.build(**told, **needed)


def versions_named(models: list[dict[str, Any]]) -> Iterator[str]:
    """The ids of the versions that models take a subset or a population from."""
    for entry in models:
        for need in (Need.SUBSET, Need.POPULATION):
            named = entry.get(need)
            if isinstance(named, Mapping) and "version" in named:
                yield named["version"]


def _model(
    given: Any, *, version: Version, roles: Mapping[str, str], by: Any
) -> dict[str, Any]:
    entry = check.mapping(given, name="A model")
    kind = MODELS.get(str(entry.get("name")))
    if kind is None:
        raise check.wrong(
            f"A model is one of {', '.join(MODELS)}.", code="unknown_model"
        )
    unknown = set(entry) - kind.keys
    if unknown:
        raise check.wrong(
            f"{kind.label} has no “{min(map(str, unknown))}”.", code="model"
        )
    told: dict[str, Any] = {"name": kind.name}
    if kind.sensitive:
        told["column"] = sensitive(entry.get("column"), kind=kind, roles=roles)
    for declared in kind.parameters:
        told[declared.name] = check.parameter(
            entry.get(declared.name), declared=declared, of=kind.label, code="model"
        )
    if Need.HIERARCHY in kind.needs:
        told["hierarchy"] = check.hierarchy(
            entry.get("hierarchy", check.AUTOMATIC), column=told["column"], by=by
        )
    if Need.SUBSET in kind.needs:
        told["subset"] = _subset(
            entry.get("subset"), kind=kind, version=version, roles=roles, by=by
        )
    if Need.POPULATION in kind.needs:
        told["population"] = _population(
            entry.get("population"), kind=kind, version=version, by=by
        )
        if told["population"] is None and told.get("attacker") == "journalist":
            raise check.wrong(
                "Profitability against a journalist needs a version that lists the "
                "population.",
                code="no_population",
            )
    return told


def sensitive(name: Any, *, kind: ModelKind, roles: Mapping[str, str]) -> str:
    """The sensitive column of a model, or DataError."""
    if not check.is_one(name, roles):
        raise DataError(
            f"{kind.label} needs a sensitive column; this version has no column "
            f"“{name or ''}”.",
            code="no_column",
            column=str(name or ""),
        )
    if roles[name] != Role.SENSITIVE:
        raise DataError(
            f"Column “{name}” is not sensitive. Set its role first.",
            code="not_sensitive",
            column=str(name),
        )
    return str(name)


def _subset(
    given: Any,
    *,
    kind: ModelKind,
    version: Version,
    roles: Mapping[str, str],
    by: Any,
) -> dict[str, Any]:
    if not given:
        raise check.wrong(
            f"{kind.label} needs a subset of the rows: another version, or a column "
            "and a value.",
            code="no_subset",
        )
    named = check.mapping(given, name=f"{kind.label}: “subset”")
    if set(named) == {"version"}:
        return {"version": _version(named["version"], by=by)}
    if policy_seals.SEALED in named:  # a run's policy, given back
        opened = policy_seals.value_of(named.pop(policy_seals.SEALED), version=version)
        named.setdefault("value", opened)
    if set(named) != {"column", "is", "value"}:
        raise check.wrong(
            f"{kind.label}: a subset has a version, or column, is and value."
        )
    column = named["column"]
    if not check.is_one(column, roles) or roles[column] == Role.IDENTIFIER:
        raise check.wrong(
            f"{kind.label}: the subset needs a column that is no identifier.",
            code="no_column",
            column=str(column),
        )
    if not check.is_one(named["is"], COMPARISONS):
        raise check.wrong(f"A subset compares with {', '.join(COMPARISONS)}.")
    value = str(named["value"])
    if not value or len(value) > MOST_VALUE:
        raise check.wrong(
            f"{kind.label}: the subset's value has 1 to {MOST_VALUE} characters."
        )
    return {"column": column, "is": named["is"], "value": value}


def _population(
    given: Any, *, kind: ModelKind, version: Version, by: Any
) -> dict[str, Any] | None:
    if not given:
        if kind.optional:
            return None
        raise check.wrong(
            f"{kind.label} needs a population: its number of people, or another "
            "version that lists it.",
            code="no_population",
        )
    named = check.mapping(given, name=f"{kind.label}: “population”")
    if set(named) == {"version"}:
        return {"version": _version(named["version"], by=by)}
    if set(named) != {"people"} or not kind.people:
        allowed = "people or a version" if kind.people else "a version"
        raise check.wrong(f"{kind.label}: a population has {allowed}.")
    people = named["people"]
    if isinstance(people, bool) or not isinstance(people, int):
        raise check.wrong(f"{kind.label}: people must be a whole number.", code="model")
    if not version.rows <= people <= MOST_PEOPLE:
        raise check.wrong(
            f"{kind.label}: the population must have at least the table's "
            f"{version.rows:,} rows.",
            code="population_too_small",
        )
    return {"people": people}


def _version(pk: Any, *, by: Any) -> str:
    """A version whose rows the user may read as a steward."""
    try:
        found = Version.objects.managed_by(by).get(pk=UUID(str(pk)))
    except (ValueError, Version.DoesNotExist) as error:
        raise check.wrong("There is no such version.", code="no_version") from error
    datasets.require_open(found)
    return str(found.pk)


def _check_size(entry: Mapping[str, Any], *, version: Version, by: Any) -> None:
    """k against the rows, l against the distinct values: both known to the steward."""
    k = entry.get("k")
    if k is not None and entry["name"] == "k_anonymity" and k > version.rows:
        raise check.wrong(
            f"k is {k}, but the table has only {version.rows:,} rows.",
            code="k_too_large",
        )
    people = entry.get("population")
    if isinstance(people, int) and people < version.rows:
        raise check.wrong(
            f"The population must have at least the table's {version.rows:,} rows.",
            code="population_too_small",
        )
    column, least = entry.get("column"), entry.get("l")
    if column is None or least is None:
        return
    profile = datasets.profile(version=version, by=by, purpose="values of a column")
    told = profile.column(column)
    values = told.distinct + bool(told.missing)
    if least > values and not told.distinct_capped:
        raise check.wrong(
            f"l is {least}, but column “{column}” has only {values:,} values.",
            code="l_too_large",
            column=column,
        )


def check_aggregates(models: list[dict[str, Any]]) -> None:
    """That the models hold of rows that show aggregates of their group."""
    for entry in models:
        kind = MODELS[entry["name"]]
        stand_ins: dict[Need, Any] = {need: _STAND_INS[need] for need in kind.needs}
        if "version" in _named(entry.get("population")):
            stand_ins[Need.POPULATION] = pl.DataFrame()
        if not built(entry, inputs=stand_ins).bears_aggregates:
            raise check.wrong(
                f"{kind.label} cannot be kept beside microaggregation, which shows "
                "values of the rows that are released.",
                code="treatment",
            )


def _check_together(models: list[dict[str, Any]]) -> None:
    subsets = [entry["subset"] for entry in models if "subset" in entry]
    tables = [
        entry["population"]
        for entry in models
        if "version" in _named(entry.get("population"))
    ]
    drawn = any(entry["name"] == "epsilon_delta_dp" for entry in models)
    if any(one != subsets[0] for one in subsets[1:]):
        raise check.wrong("The models name different subsets.", code="model")
    if any(one != tables[0] for one in tables[1:]):
        raise check.wrong("The models name different populations.", code="model")
    if (subsets or drawn) and tables or subsets and drawn:
        raise check.wrong(
            "Models with a subset, with a population that is listed, and "
            "differential privacy exclude each other.",
            code="model",
        )
    if sum(entry["name"] == "epsilon_delta_dp" for entry in models) > 1:
        raise check.wrong("Name differential privacy once.", code="model")


def _named(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
