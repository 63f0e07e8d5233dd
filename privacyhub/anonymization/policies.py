"""A policy: what an anonymization run is asked for, as JSON that never changes.

    {"schema": 1,
     "quasi_identifiers": {"age": {"hierarchy": "automatic"},
                           "zip": {"hierarchy": "<id of an uploaded one>"}},
     "models": [{"name": "k_anonymity", "k": 5},
                {"name": "distinct_l_diversity", "column": "diagnosis", "l": 2}],
     "suppression_limit": 0.02,
     "metric": {"name": "loss", "aggregate": "geometric_mean",
                "suppression_factor": 0.5, "weights": {}}}

`frozen` checks one against a version and fills in what was left out. It names columns
and parameters, never values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from privacyhub.anonymization.models import Hierarchy
from privacyhub.anonymization.vocabulary import METRICS, MODELS, ModelKind, Parameter
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.engines import anonymize as an

SCHEMA = 1
AUTOMATIC = "automatic"
MOST_MODELS = 12
_KEYS = frozenset(
    {"schema", "quasi_identifiers", "models", "suppression_limit", "metric"}
)


def frozen(*, version: Version, policy: Any, by: Any) -> dict[str, Any]:
    """The policy in full, or DataError (400, 409) naming what is wrong and where."""
    given = _mapping(policy, name="The policy")
    unknown = set(given) - _KEYS
    if unknown:
        raise _wrong(f"A policy has no “{min(unknown)}”.")
    if given.get("schema", SCHEMA) != SCHEMA:
        raise _wrong(f"Only policies of schema {SCHEMA} are known.", code="schema")
    roles = roles_of(version)
    columns = _quasi_identifiers(given.get("quasi_identifiers"), roles=roles, by=by)
    check_roles(version=version, quasi_identifiers=columns)
    return {
        "schema": SCHEMA,
        "quasi_identifiers": columns,
        "models": _models(given.get("models"), version=version, roles=roles),
        "suppression_limit": _number(
            given.get("suppression_limit", 0.0),
            name="The suppression limit",
            lower=0,
            upper=1,
        ),
        "metric": _metric(given.get("metric") or {}, columns=columns),
    }


def roles_of(version: Version) -> dict[str, str]:
    """Role by column, in the order of the columns."""
    return dict(version.columns.order_by("position").values_list("name", "role"))


def check_roles(*, version: Version, quasi_identifiers: Mapping[str, Any]) -> None:
    """Every quasi-identifier of the version is in the policy, and nothing else is.

    One that was left out would be released as it is, and single people out.
    """
    roles = roles_of(version)
    for name in quasi_identifiers:
        if name not in roles:
            raise DataError(
                f"This version has no column “{name}”.", code="no_column", column=name
            )
        if roles[name] != Role.QUASI_IDENTIFIER:
            raise DataError(
                f"Column “{name}” is not a quasi-identifier. Set its role first.",
                code="not_quasi_identifier",
                column=name,
            )
    for name, role in roles.items():
        if role == Role.QUASI_IDENTIFIER and name not in quasi_identifiers:
            raise Conflict(
                f"Column “{name}” is a quasi-identifier and would be released as it "
                "is. Take it into the policy, or change its role.",
                code="quasi_identifier_left_out",
                column=name,
            )


def recheck(*, version: Version, policy: Mapping[str, Any]) -> None:
    """That a frozen policy still fits: roles may have changed since."""
    check_roles(version=version, quasi_identifiers=policy["quasi_identifiers"])
    roles = roles_of(version)
    for entry in policy["models"]:
        kind = MODELS[entry["name"]]
        if kind.sensitive:
            _sensitive(entry["column"], kind=kind, roles=roles)


def engine_models(policy: Mapping[str, Any]) -> list[an.Model]:
    """The policy's models as the engine takes them."""
    return [_built(entry) for entry in policy["models"]]


def engine_metric(policy: Mapping[str, Any]) -> an.Metric:
    """The policy's metric as the engine takes it."""
    told = dict(policy["metric"])
    return METRICS[told.pop("name")](**told)


def _built(entry: Mapping[str, Any]) -> an.Model:
    told = dict(entry)
    return MODELS[told.pop("name")].build(**told)


def _quasi_identifiers(
    given: Any, *, roles: Mapping[str, str], by: Any
) -> dict[str, dict[str, str]]:
    columns = _mapping(given, name="“quasi_identifiers”")
    if not columns:
        raise _wrong("Name at least one quasi-identifier.", code="no_quasi_identifier")
    chosen = {}
    for name, told in columns.items():
        entry = _mapping(told if told is not None else {}, name=f"Column “{name}”")
        if set(entry) - {"hierarchy"}:
            raise _wrong(
                f"Column “{name}”: only “hierarchy” can be set.", column=str(name)
            )
        hierarchy = entry.get("hierarchy", AUTOMATIC)
        if hierarchy != AUTOMATIC:
            hierarchy = _known_hierarchy(hierarchy, column=str(name), by=by)
        chosen[str(name)] = {"hierarchy": hierarchy}
    order = list(roles)
    return dict(
        sorted(
            chosen.items(),
            key=lambda item: order.index(item[0]) if item[0] in order else -1,
        )
    )


def _known_hierarchy(pk: Any, *, column: str, by: Any) -> str:
    try:
        known = Hierarchy.objects.visible_to(by).get(pk=UUID(str(pk)))
    except (ValueError, Hierarchy.DoesNotExist) as error:
        raise _wrong(
            f"Column “{column}”: there is no such hierarchy.",
            code="no_hierarchy",
            column=column,
        ) from error
    return str(known.pk)


def _models(
    given: Any, *, version: Version, roles: Mapping[str, str]
) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise _wrong("Name at least one privacy model.", code="no_model")
    if len(given) > MOST_MODELS:
        raise _wrong(f"A policy has at most {MOST_MODELS} models.")
    found = [_model(entry, roles=roles) for entry in given]
    for entry in found:
        _check_size(entry, version=version)
        try:
            _built(entry)
        except an.AnonymizeError as error:
            raise _wrong(str(error), code="model") from error
    if any(found.count(entry) > 1 for entry in found):
        raise _wrong("A model is named twice.", code="model")
    return found


def _model(given: Any, *, roles: Mapping[str, str]) -> dict[str, Any]:
    entry = _mapping(given, name="A model")
    kind = MODELS.get(str(entry.get("name")))
    if kind is None:
        raise _wrong(f"A model is one of {', '.join(MODELS)}.", code="unknown_model")
    allowed = {"name", *(p.name for p in kind.parameters)}
    allowed |= {"column"} if kind.sensitive else set()
    unknown = set(entry) - allowed
    if unknown:
        raise _wrong(f"{kind.label} has no “{min(map(str, unknown))}”.", code="model")
    told: dict[str, Any] = {"name": kind.name}
    if kind.sensitive:
        told["column"] = _sensitive(entry.get("column"), kind=kind, roles=roles)
    for parameter in kind.parameters:
        told[parameter.name] = _parameter(
            entry.get(parameter.name), parameter=parameter, kind=kind
        )
    return told


def _sensitive(name: Any, *, kind: ModelKind, roles: Mapping[str, str]) -> str:
    if name not in roles:
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


def _parameter(value: Any, *, parameter: Parameter, kind: ModelKind) -> Any:
    if value is None:
        value = parameter.default
    if parameter.choices:
        if value not in parameter.choices:
            raise _wrong(
                f"{kind.label}: {parameter.name} is one of "
                f"{', '.join(parameter.choices)}.",
                code="model",
            )
        return value
    if parameter.whole and (isinstance(value, bool) or not isinstance(value, int)):
        raise _wrong(
            f"{kind.label}: {parameter.name} must be a whole number.", code="model"
        )
    return _number(
        value,
        name=f"{kind.label}: {parameter.name}",
        lower=parameter.lower,
        upper=parameter.upper,
    )


def _check_size(entry: Mapping[str, Any], *, version: Version) -> None:
    """k against the rows, l against the distinct values: both known to the steward."""
    k = entry.get("k")
    if k is not None and k > version.rows:
        raise _wrong(
            f"k is {k}, but the table has only {version.rows:,} rows.",
            code="k_too_large",
        )
    column, least = entry.get("column"), entry.get("l")
    if column is None or least is None:
        return
    told = datasets.profile(version).column(column)
    values = told.distinct + bool(told.missing)
    if least > values and not told.distinct_capped:
        raise _wrong(
            f"l is {least}, but column “{column}” has only {values:,} values.",
            code="l_too_large",
            column=column,
        )


def _metric(given: Any, *, columns: Mapping[str, Any]) -> dict[str, Any]:
    entry = _mapping(given, name="“metric”")
    name = entry.get("name", "loss")
    if name not in METRICS:
        raise _wrong(f"A metric is one of {', '.join(METRICS)}.", code="metric")
    told = {
        "name": name,
        "aggregate": "geometric_mean",
        "suppression_factor": 0.5,
        "weights": {},
    } | entry
    if set(told) != {"name", "aggregate", "suppression_factor", "weights"}:
        raise _wrong("A metric has name, aggregate, suppression_factor and weights.")
    told["suppression_factor"] = _number(
        told["suppression_factor"], name="The suppression factor", lower=0, upper=1
    )
    weights = _mapping(told["weights"], name="“weights”")
    for column, weight in weights.items():
        if column not in columns:
            raise _wrong("A weight names a column that is no quasi-identifier.")
        _number(weight, name=f"The weight of “{column}”", lower=0, upper=1000)
    try:
        engine_metric({"metric": told})
    except an.AnonymizeError as error:
        raise _wrong(str(error), code="metric") from error
    return told


def _mapping(given: Any, *, name: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise _wrong(f"{name} must be an object.")
    return dict(given)


def _number(value: Any, *, name: str, lower: float, upper: float | None) -> Any:
    """The number unchanged, so that a whole one stays whole."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    within = (
        known
        and math.isfinite(value)
        and value >= lower
        and (upper is None or value <= upper)
    )
    if not within:
        to = "" if upper is None else f" to {upper:g}"
        least = f"at least {lower:g}" if upper is None else f"from {lower:g}{to}"
        raise _wrong(f"{name} must be a number {least}.", code="out_of_range")
    return value


def _wrong(message: str, *, code: str = "policy", column: str = "") -> DataError:
    return DataError(message, code=code, column=column or None)
