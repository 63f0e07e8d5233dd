"""A policy: what an anonymization run is asked for, as JSON that never changes.

    {"schema": 1,
     "quasi_identifiers": {"age": {"hierarchy": "automatic"},
                           "zip": {"hierarchy": "<id of an uploaded one>"}},
     "models": [{"name": "k_anonymity", "k": 5},
                {"name": "distinct_l_diversity", "column": "diagnosis", "l": 2}],
     "suppression_limit": 0.02,
     "metric": {"name": "loss", "aggregate": "geometric_mean",
                "suppression_factor": 0.5, "weights": {}},
     "method": "full_domain", "time_limit": 600,
     "treatments": {"name": {"name": "pseudonym", "domain": "patient"},
                    "income": {"name": "round_to", "step": 1000}},
     "utility_target": null}

`time_limit` is in seconds: after it the best solution so far is taken, and its gap
told. `suppression_limit` does not hold under differential privacy: every small group
goes. `frozen` checks one against a version and fills in what was left out. It names
columns and parameters. The only value of the data that it can hold is the one that a
steward types to choose a subset; `policy_seals` keeps that one sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privacyhub.anonymization import policy_checks as check
from privacyhub.anonymization import policy_models, policy_treatments
from privacyhub.anonymization.policy_checks import AUTOMATIC
from privacyhub.anonymization.policy_models import MOST_MODELS
from privacyhub.anonymization.vocabulary import METHODS, METRICS, MODELS, Need
from privacyhub.anonymization.vocabulary_treatments import (
    AGGREGATE,
    DECLARED,
    kept_after,
)
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.engines import anonymize as an

__all__ = ["AUTOMATIC", "MOST_MODELS"]

SCHEMA = 1
DEFAULT_TIME_LIMIT = 600
MOST_TIME = 6 * 3600
FULL_DOMAIN = next(iter(METHODS))
_FIRST_METRIC = next(iter(METRICS))
_LOCAL_MODELS = frozenset(
    {
        "k_anonymity",
        "distinct_l_diversity",
        "entropy_l_diversity",
        "recursive_cl_diversity",
        "equal_t_closeness",
        "ordered_t_closeness",
        "hierarchical_t_closeness",
        "basic_beta_likeness",
        "enhanced_beta_likeness",
    }
)
KEYS = frozenset(
    {
        "schema",
        "quasi_identifiers",
        "models",
        "suppression_limit",
        "metric",
        "method",
        "time_limit",
        "treatments",
        "utility_target",
    }
)


def frozen(*, version: Version, policy: Any, by: Any) -> dict[str, Any]:
    """The policy in full, or DataError (400, 409) naming what is wrong and where."""
    given = check.mapping(policy, name="The policy")
    check.storable(given)
    unknown = set(given) - KEYS
    if unknown:
        raise check.wrong(f"A policy has no “{min(unknown)}”.")
    if given.get("schema", SCHEMA) != SCHEMA:
        raise check.wrong(f"Only policies of schema {SCHEMA} are known.", code="schema")
    roles = roles_of(version)
    columns = _quasi_identifiers(given.get("quasi_identifiers"), roles=roles, by=by)
    check_roles(version=version, quasi_identifiers=columns)
    models = policy_models.frozen(
        given.get("models"), version=version, roles=roles, by=by
    )
    treatments = policy_treatments.frozen(
        given.get("treatments") or {}, version=version, roles=roles
    )
    generalized = _generalized(columns, models=models, treatments=treatments)
    told = {
        "schema": SCHEMA,
        "quasi_identifiers": columns,
        "models": models,
        "suppression_limit": check.number(
            given.get("suppression_limit", 0.0),
            name="The suppression limit",
            lower=0,
            upper=1,
        ),
        "metric": _metric(
            given.get("metric") or {},
            columns=columns,
            generalized=generalized,
            roles=roles,
        ),
        "method": _method(given.get("method", FULL_DOMAIN), models=models),
        "time_limit": check.number(
            given.get("time_limit", DEFAULT_TIME_LIMIT),
            name="The time limit",
            lower=1,
            upper=MOST_TIME,
        ),
        "treatments": treatments,
        "utility_target": _shown(
            given.get("utility_target"), name="“utility_target”", roles=roles
        ),
    }
    _check_dropped(told)
    return told


def roles_of(version: Version) -> dict[str, str]:
    """Role by column, in the order of the columns."""
    return dict(version.columns.order_by("position").values_list("name", "role"))


def undeclared(policy: Mapping[str, Any], *, column: str) -> dict[str, None]:
    """The fields of a column that a release does not take over from its source.

    What was declared was of the values, not of their groups or of what else becomes of
    them.
    """
    if column in policy["quasi_identifiers"]:
        return dict.fromkeys(DECLARED)
    entry = policy.get("treatments", {}).get(column)
    return dict.fromkeys(DECLARED - kept_after(entry)) if entry else {}


def shown_columns(*, roles: Mapping[str, str], policy: Mapping[str, Any]) -> list[str]:
    """The columns that a release shows: an identifier only where it is disguised."""
    treated = policy.get("treatments", {})
    shown = []
    for name, role in roles.items():
        named = treated.get(name, {}).get("name")
        if named != "drop" and (role != Role.IDENTIFIER or named is not None):
            shown.append(name)
    return shown


def aggregates(policy: Mapping[str, Any]) -> dict[str, str]:
    """By quasi-identifier that is not generalized: what a group shows of it."""
    return {
        name: entry["aggregate"]
        for name, entry in policy.get("treatments", {}).items()
        if entry["name"] == AGGREGATE
    }


def is_dp(policy: Mapping[str, Any]) -> bool:
    """Whether rows are drawn by chance, anew in every run."""
    return any(entry["name"] == "epsilon_delta_dp" for entry in policy["models"])


def time_limit(policy: Mapping[str, Any]) -> float:
    """Seconds that a search may take."""
    return float(policy.get("time_limit", DEFAULT_TIME_LIMIT))


def score_unit(policy: Mapping[str, Any]) -> str:
    """The unit of the metric's figure; "" for a share from 0 to 1."""
    metric = policy["metric"]
    kind = METRICS[metric["name"]]
    summed = metric.get("aggregate") == "sum"
    return "summed over the columns" if summed and not kind.unit else kind.unit


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
            policy_models.sensitive(entry["column"], kind=kind, roles=roles)
    policy_treatments.frozen(policy.get("treatments", {}), version=version, roles=roles)


def engine_models(
    policy: Mapping[str, Any], *, inputs: Mapping[int, Mapping[Need, Any]] | None = None
) -> list[an.Model]:
    """The policy's models as the engine takes them.

    `inputs`: by place in the list, what a model needs besides numbers.
    """
    given = inputs or {}
    return [
        policy_models.built(entry, inputs=given.get(place, {}))
        for place, entry in enumerate(policy["models"])
    ]


def engine_metric(policy: Mapping[str, Any]) -> an.Metric:
    """The policy's metric as the engine takes it."""
    told = dict(policy["metric"])
    return METRICS[told.pop("name")].build(**told)


def _quasi_identifiers(
    given: Any, *, roles: Mapping[str, str], by: Any
) -> dict[str, dict[str, str]]:
    columns = check.mapping(given, name="“quasi_identifiers”")
    if not columns:
        raise check.wrong(
            "Name at least one quasi-identifier.", code="no_quasi_identifier"
        )
    chosen = {}
    for name, told in columns.items():
        entry = check.mapping(told if told is not None else {}, name=f"Column “{name}”")
        if set(entry) - {"hierarchy"}:
            raise check.wrong(
                f"Column “{name}”: only “hierarchy” can be set.", column=str(name)
            )
        chosen[str(name)] = {
            "hierarchy": check.hierarchy(
                entry.get("hierarchy", AUTOMATIC), column=str(name), by=by
            )
        }
    order = list(roles)
    return dict(
        sorted(
            chosen.items(),
            key=lambda item: order.index(item[0]) if item[0] in order else -1,
        )
    )


def _generalized(
    columns: Mapping[str, Any],
    *,
    models: list[dict[str, Any]],
    treatments: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """The quasi-identifiers that form the groups; there must be one."""
    aggregated = aggregates({"treatments": treatments})
    found = [name for name in columns if name not in aggregated]
    if not found:
        raise check.wrong(
            "Leave at least one quasi-identifier to be generalized: the groups are "
            "formed by it.",
            code="no_quasi_identifier",
        )
    if aggregated:
        policy_models.check_aggregates(models)
    return found


def _metric(
    given: Any,
    *,
    columns: Mapping[str, Any],
    generalized: list[str],
    roles: Mapping[str, str],
) -> dict[str, Any]:
    entry = check.mapping(given, name="“metric”")
    kind = METRICS.get(str(entry.get("name", _FIRST_METRIC)))
    if kind is None:
        raise check.wrong(f"A metric is one of {', '.join(METRICS)}.", code="metric")
    unknown = set(entry) - {"name"} - kind.options
    if unknown:
        raise check.wrong(f"{kind.label} has no “{min(unknown)}”.", code="metric")
    told: dict[str, Any] = {"name": kind.name}
    if "aggregate" in kind.options:
        told["aggregate"] = entry.get("aggregate", kind.aggregate)
    if "suppression_factor" in kind.options:
        told["suppression_factor"] = check.number(
            entry.get("suppression_factor", 0.5),
            name="The suppression factor",
            lower=0,
            upper=1,
        )
    if "weights" in kind.options:
        told["weights"] = _weights(entry.get("weights", {}), columns=generalized)
    if "target" in kind.options:
        told["target"] = _target(entry.get("target"), columns=columns, roles=roles)
    try:
        engine_metric({"metric": told})
    except an.AnonymizeError as error:
        raise check.wrong(str(error), code="metric") from error
    return told


def _weights(given: Any, *, columns: list[str]) -> dict[str, float]:
    weights = check.mapping(given, name="“weights”")
    for column, weight in weights.items():
        if column not in columns:
            raise check.wrong(
                "A weight names no quasi-identifier, or one that is not generalized."
            )
        check.number(weight, name=f"The weight of “{column}”", lower=0, upper=1000)
    if weights and not any(weights.get(name, 1) > 0 for name in columns):
        raise check.wrong("At least one weight must be above 0.", code="metric")
    return weights


def _target(given: Any, *, columns: Mapping[str, Any], roles: Mapping[str, str]) -> str:
    target = _shown(given, name="The target of the metric", roles=roles)
    if target is None or target in columns:
        raise check.wrong(
            "The metric needs a target that is no quasi-identifier.", code="metric"
        )
    return target


def _shown(given: Any, *, name: str, roles: Mapping[str, str]) -> str | None:
    """A column that a release can show; None where none is named."""
    if given is None or given == "":
        return None
    if not check.is_one(given, roles) or roles[given] == Role.IDENTIFIER:
        raise check.wrong(
            f"{name} must be a column that is no identifier.",
            code="no_column",
            column=str(given),
        )
    return str(given)


def _method(given: Any, *, models: list[dict[str, Any]]) -> str:
    if not check.is_one(given, METHODS):
        raise check.wrong(f"A method is one of {', '.join(METHODS)}.", code="method")
    if given == FULL_DOMAIN:
        return FULL_DOMAIN
    for entry in models:
        breakable = entry["name"] not in _LOCAL_MODELS
        if breakable or entry.get("estimator") == "grassberger":
            raise check.wrong(
                f"{METHODS[given].label} cannot keep {MODELS[entry['name']].label}: "
                "joining two groups for which it holds can break it, or it is one of "
                "the whole table.",
                code="method",
            )
    return str(given)


def _check_dropped(policy: Mapping[str, Any]) -> None:
    """What models, metric and figures look at must be in the release."""
    used = {entry.get("column") for entry in policy["models"]}
    used |= {
        entry["subset"].get("column") for entry in policy["models"] if "subset" in entry
    }
    used |= {policy["metric"].get("target"), policy["utility_target"]}
    for name, entry in policy["treatments"].items():
        if entry["name"] == "drop" and name in used:
            raise check.wrong(
                f"Column “{name}” is dropped, and a model, the metric or the target "
                "needs it.",
                code="treatment",
                column=name,
            )
