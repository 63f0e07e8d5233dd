"""The anonymize form: a policy as fields, and fields as a policy.

Models are a list that grows and shrinks: the fields of row i are `model-i-name`,
`model-i-column` and `model-i-<parameter>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from privacyhub.anonymization.models import Hierarchy
from privacyhub.anonymization.policies import AUTOMATIC, MOST_MODELS
from privacyhub.anonymization.vocabulary import MODELS, ModelKind, Parameter
from privacyhub.datasets.models import Column, Role, Version

AGGREGATES = (
    ("geometric_mean", "Geometric mean of the columns"),
    ("arithmetic_mean", "Arithmetic mean of the columns"),
    ("sum", "Sum of the columns"),
    ("max", "The worst column"),
    ("rank", "The worst column, then the next worst"),
)
METRICS = (("loss", "Loss of detail"), ("precision", "Precision of the levels"))


@dataclass(frozen=True)
class Input:
    """A parameter of a model row with what was typed into it."""

    parameter: Parameter
    name: str
    value: str


@dataclass(frozen=True)
class ModelRow:
    """A row of the list of models."""

    index: int
    kind: ModelKind
    column: str
    inputs: list[Input]


@dataclass(frozen=True)
class ColumnRow:
    """A column as the form shows it; `index` is set for quasi-identifiers."""

    column: Column
    hierarchy: str = AUTOMATIC
    weight: str = "1"
    known: bool = False

    @property
    def is_quasi_identifier(self) -> bool:
        return self.column.role == Role.QUASI_IDENTIFIER

    @property
    def fate(self) -> str:
        """What becomes of the column in the release."""
        return {
            Role.IDENTIFIER.value: "Dropped",
            Role.QUASI_IDENTIFIER.value: "Generalized",
            Role.SENSITIVE.value: "Kept; models can protect it",
            Role.INSENSITIVE.value: "Kept as it is",
        }[self.column.role]


@dataclass
class PolicyForm:
    """What the form shows: columns, models, limit, metric."""

    version: Version
    columns: list[ColumnRow]
    models: list[ModelRow]
    hierarchies: list[Hierarchy]
    suppression: str = "2"
    metric: str = "loss"
    aggregate: str = "geometric_mean"
    factor: str = "0.5"
    recipient: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def quasi_identifiers(self) -> list[ColumnRow]:
        return [row for row in self.columns if row.is_quasi_identifier]

    @property
    def sensitive(self) -> list[str]:
        return [
            row.column.name for row in self.columns if row.column.role == Role.SENSITIVE
        ]

    @property
    def kinds(self) -> list[ModelKind]:
        """The models that can be added to this table."""
        return [
            kind for kind in MODELS.values() if self.sensitive or not kind.sensitive
        ]

    aggregates = AGGREGATES
    metrics = METRICS

    def add_error(self, _: None, problem: str) -> None:
        """As a Django form does, so that `flash.explained` can tell it."""
        self.problems.append(problem)


def fresh(version: Version, *, user: Any) -> PolicyForm:
    """The form with 5-anonymity, 2% suppression and automatic hierarchies."""
    first = _row(0, MODELS["k_anonymity"], {}, "")
    rows = [
        ColumnRow(column=column, known=column.role == Role.QUASI_IDENTIFIER)
        for column in version.columns.all()
    ]
    return PolicyForm(
        version=version, columns=rows, models=[first], hierarchies=_own(user)
    )


def of_policy(version: Version, policy: Mapping[str, Any], *, user: Any) -> PolicyForm:
    """The form filled with the policy of an earlier run."""
    form = fresh(version, user=user)
    known = policy["quasi_identifiers"]
    metric = policy["metric"]
    form.columns = [
        ColumnRow(
            column=row.column,
            hierarchy=known.get(row.column.name, {}).get("hierarchy", AUTOMATIC),
            weight=f"{metric['weights'].get(row.column.name, 1):g}",
            known=row.known,
        )
        for row in form.columns
    ]
    form.models = [
        _row(index, MODELS[entry["name"]], entry, entry.get("column", ""))
        for index, entry in enumerate(policy["models"])
    ]
    form.suppression = f"{policy['suppression_limit'] * 100:g}"
    form.metric, form.aggregate = metric["name"], metric["aggregate"]
    form.factor = f"{metric['suppression_factor']:g}"
    return form


def of_request(version: Version, data: QueryDict, *, user: Any) -> PolicyForm:
    """The form as it was sent, to show it again."""
    form = fresh(version, user=user)
    known = set(data.getlist("known"))
    form.columns = [
        ColumnRow(
            column=row.column,
            hierarchy=data.get(f"hierarchy-{row.column.pk}", AUTOMATIC),
            weight=data.get(f"weight-{row.column.pk}", "1"),
            known=row.column.name in known,
        )
        for row in form.columns
    ]
    form.models = models_of(data)
    form.suppression = data.get("suppression", "")
    form.metric = data.get("metric", "loss")
    form.aggregate = data.get("aggregate", "geometric_mean")
    form.factor = data.get("factor", "0.5")
    form.recipient = data.get("recipient", "")
    return form


def models_of(data: QueryDict) -> list[ModelRow]:
    """The rows that were sent, less the one to remove, and the one to add."""
    found = []
    for index in range(MOST_MODELS):
        kind = MODELS.get(data.get(f"model-{index}-name", ""))
        if kind is None or data.get("remove") == str(index):
            continue
        typed = {
            parameter.name: data.get(f"model-{index}-{parameter.name}", "")
            for parameter in kind.parameters
        }
        column = data.get(f"model-{index}-column", "")
        found.append(_row(len(found), kind, typed, column))
    added = MODELS.get(data.get("add", "")) if "add_model" in data else None
    if added is not None and len(found) < MOST_MODELS:
        found.append(_row(len(found), added, {}, ""))
    return found


def policy_of(form: PolicyForm) -> dict[str, Any]:
    """The policy that the fields say; what is no number is left as it was typed."""
    weights = {
        row.column.name: weight
        for row in form.quasi_identifiers
        if (weight := _number(row.weight)) != 1
    }
    limit = _number(form.suppression)
    return {
        "quasi_identifiers": {
            row.column.name: {"hierarchy": row.hierarchy}
            for row in form.quasi_identifiers
        },
        "models": [_model(row) for row in form.models],
        "suppression_limit": limit / 100 if isinstance(limit, int | float) else limit,
        "metric": {
            "name": form.metric,
            "aggregate": form.aggregate,
            "suppression_factor": _number(form.factor),
            "weights": weights,
        },
    }


def _model(row: ModelRow) -> dict[str, Any]:
    told: dict[str, Any] = {"name": row.kind.name}
    if row.kind.sensitive:
        told["column"] = row.column
    for one in row.inputs:
        choice = bool(one.parameter.choices)
        told[one.parameter.name] = one.value if choice else _number(one.value)
    return told


def _row(
    index: int, kind: ModelKind, typed: Mapping[str, Any], column: str
) -> ModelRow:
    inputs = [
        Input(
            parameter=parameter,
            name=f"model-{index}-{parameter.name}",
            value=str(typed.get(parameter.name, parameter.default)),
        )
        for parameter in kind.parameters
    ]
    return ModelRow(index=index, kind=kind, column=column, inputs=inputs)


def _number(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _own(user: Any) -> list[Hierarchy]:
    return list(Hierarchy.objects.visible_to(user).order_by("name"))
