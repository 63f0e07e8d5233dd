"""The anonymize form: a policy as fields, and fields as a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.http import QueryDict

from privacyhub.anonymization.models import Hierarchy
from privacyhub.anonymization.policies import (
    AUTOMATIC,
    DEFAULT_TIME_LIMIT,
    FULL_DOMAIN,
    MOST_TIME,
    time_limit,
)
from privacyhub.anonymization.vocabulary import (
    AGGREGATES,
    METHODS,
    METRICS,
    MODELS,
    TREATMENTS,
    ModelKind,
    TreatmentKind,
)
from privacyhub.anonymization.vocabulary_treatments import AGGREGATE, choices_for
from privacyhub.datasets.models import Column, Role, Version
from privacyhub.web import anonymization_form_models as model_rows
from privacyhub.web.anonymization_form_models import Input, ModelRow, number_or_text

MOST_VERSIONS = 200
FATES = {
    Role.IDENTIFIER.value: "Dropped",
    Role.QUASI_IDENTIFIER.value: "Generalized",
    Role.SENSITIVE.value: "Kept; models can protect it",
    Role.INSENSITIVE.value: "Kept as it is",
}


@dataclass(frozen=True)
class ColumnRow:
    """A column as the form shows it.

    Its fields are `hierarchy-<pk>`, `weight-<pk>`, `treatment-<pk>` and, for the
    treatment's parameters, `treatment-<pk>-<parameter>`.
    """

    column: Column
    hierarchy: str = AUTOMATIC
    weight: str = "1"
    known: bool = False
    treatment: TreatmentKind | None = None
    inputs: list[Input] = field(default_factory=list)

    @property
    def is_quasi_identifier(self) -> bool:
        return self.column.role == Role.QUASI_IDENTIFIER

    @property
    def is_generalized(self) -> bool:
        aggregated = self.treatment is not None and self.treatment.name == AGGREGATE
        return self.is_quasi_identifier and not aggregated

    @property
    def fate(self) -> str:
        """What becomes of the column in the release if nothing is chosen."""
        return FATES[self.column.role]

    @property
    def treatments(self) -> list[TreatmentKind]:
        return choices_for(role=self.column.role, kind=self.column.kind)


@dataclass
class PolicyForm:
    """What the form shows: columns, models, limit, metric, method."""

    version: Version
    columns: list[ColumnRow]
    models: list[ModelRow]
    hierarchies: list[Hierarchy]
    versions: list[Version]
    suppression: str = "2"
    metric: str = "loss"
    aggregate: str = ""
    factor: str = "0.5"
    metric_target: str = ""
    method: str = FULL_DOMAIN
    time_limit: str = str(DEFAULT_TIME_LIMIT)
    utility_target: str = ""
    recipient: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    aggregates = AGGREGATES
    metrics = METRICS
    methods = METHODS
    most_time = MOST_TIME

    @property
    def quasi_identifiers(self) -> list[ColumnRow]:
        return [row for row in self.columns if row.is_quasi_identifier]

    @property
    def sensitive(self) -> list[str]:
        return [
            row.column.name for row in self.columns if row.column.role == Role.SENSITIVE
        ]

    @property
    def shown(self) -> list[str]:
        """The columns that are no identifiers."""
        return [
            row.column.name
            for row in self.columns
            if row.column.role != Role.IDENTIFIER
        ]

    @property
    def other_columns(self) -> list[str]:
        """The columns that are neither identifiers nor quasi-identifiers."""
        chosen = {row.column.name for row in self.quasi_identifiers}
        return [name for name in self.shown if name not in chosen]

    @property
    def kinds(self) -> list[tuple[str, list[ModelKind]]]:
        """The models that can be added to this table, by what they are against."""
        fitting = [
            kind for kind in MODELS.values() if self.sensitive or not kind.sensitive
        ]
        return [
            (group, list(kinds))
            for group, kinds in groupby(fitting, key=lambda kind: kind.group)
        ]

    @property
    def metric_kind(self) -> Any:
        return METRICS.get(self.metric, METRICS["loss"])

    def add_error(self, _: None, problem: str) -> None:
        """As a Django form does, so that `flash.explained` can tell it."""
        self.problems.append(problem)


def fresh(version: Version, *, user: Any) -> PolicyForm:
    """The form with 5-anonymity, 2% suppression and automatic hierarchies."""
    rows = [
        ColumnRow(column=column, known=column.role == Role.QUASI_IDENTIFIER)
        for column in version.columns.all()
    ]
    return PolicyForm(
        version=version,
        columns=rows,
        models=[model_rows.row(0, MODELS["k_anonymity"])],
        hierarchies=list(Hierarchy.objects.visible_to(user).order_by("name")),
        versions=_other_versions(version, user=user),
    )


def _other_versions(version: Version, *, user: Any) -> list[Version]:
    """Those that a model may take a subset or a population from."""
    managed = Version.objects.managed_by(user).filter(erased_at=None)
    found = managed.exclude(pk=version.pk).select_related("dataset")
    return list(found.order_by("dataset__name", "number")[:MOST_VERSIONS])


def of_policy(version: Version, policy: Mapping[str, Any], *, user: Any) -> PolicyForm:
    """The form filled with a policy; columns that the version lacks are left out."""
    form = fresh(version, user=user)
    known, metric = policy["quasi_identifiers"], policy["metric"]
    weights = metric.get("weights", {})
    treated = policy.get("treatments", {})
    usable = {str(one.pk) for one in form.hierarchies}
    form.columns = [
        _column_row(
            row,
            hierarchy=_usable(known.get(row.column.name, {}).get("hierarchy"), usable),
            weight=f"{weights.get(row.column.name, 1):g}",
            known=row.known,
            treatment=treated.get(row.column.name, {}).get("name", ""),
            typed=treated.get(row.column.name, {}),
        )
        for row in form.columns
    ]
    form.models = [
        model_rows.row(index, MODELS[entry["name"]], entry)
        for index, entry in enumerate(policy["models"])
    ]
    form.suppression = f"{policy['suppression_limit'] * 100:g}"
    form.metric = metric["name"]
    form.aggregate = metric.get("aggregate", "")
    form.factor = f"{metric.get('suppression_factor', 0.5):g}"
    form.metric_target = metric.get("target", "")
    form.method = policy.get("method", FULL_DOMAIN)
    form.time_limit = f"{time_limit(policy):g}"
    form.utility_target = policy.get("utility_target") or ""
    return form


def _usable(hierarchy: str | None, usable: set[str]) -> str:
    return hierarchy if hierarchy in usable else AUTOMATIC


def of_request(version: Version, data: QueryDict, *, user: Any) -> PolicyForm:
    """The form as it was sent, to show it again."""
    form = fresh(version, user=user)
    known = set(data.getlist("known"))
    form.columns = [
        _column_row(
            row,
            hierarchy=data.get(f"hierarchy-{row.column.pk}", AUTOMATIC),
            weight=data.get(f"weight-{row.column.pk}", "1"),
            known=row.column.name in known,
            treatment=data.get(f"treatment-{row.column.pk}", ""),
            typed=_typed(data, prefix=f"treatment-{row.column.pk}-"),
        )
        for row in form.columns
    ]
    form.models = model_rows.of_request(data)
    form.suppression = data.get("suppression", "")
    form.metric = data.get("metric", "loss")
    form.aggregate = data.get("aggregate", "")
    form.factor = data.get("factor", "0.5")
    form.metric_target = data.get("metric_target", "")
    form.method = data.get("method", FULL_DOMAIN)
    form.time_limit = data.get("time_limit", str(DEFAULT_TIME_LIMIT))
    form.utility_target = data.get("utility_target", "")
    form.recipient = data.get("recipient", "")
    return form


def _typed(data: QueryDict, *, prefix: str) -> dict[str, str]:
    """The parameters that were sent, by name."""
    return {
        name.removeprefix(prefix): text
        for name, text in data.items()
        if name.startswith(prefix) and isinstance(text, str)
    }


def _column_row(
    row: ColumnRow,
    *,
    hierarchy: str,
    weight: str,
    known: bool,
    treatment: str,
    typed: Mapping[str, Any],
) -> ColumnRow:
    kind = TREATMENTS.get(treatment)
    if kind is not None and kind not in row.treatments:
        kind = None
    inputs: list[Input] = []
    if kind is not None:
        prefix = f"treatment-{row.column.pk}-"
        inputs = model_rows.inputs_of(kind.parameters, typed, prefix=prefix)
    return ColumnRow(
        column=row.column,
        hierarchy=hierarchy,
        weight=weight,
        known=known,
        treatment=kind,
        inputs=inputs,
    )


def policy_of(form: PolicyForm) -> dict[str, Any]:
    """The policy that the fields say; what is no number is left as it was typed."""
    limit = number_or_text(form.suppression)
    return {
        "quasi_identifiers": {
            row.column.name: {"hierarchy": row.hierarchy}
            for row in form.quasi_identifiers
        },
        "models": [row.entry() for row in form.models],
        "suppression_limit": limit / 100 if isinstance(limit, int | float) else limit,
        "metric": _metric(form),
        "method": form.method,
        "time_limit": number_or_text(form.time_limit),
        "treatments": {
            row.column.name: {"name": row.treatment.name}
            | {one.parameter.name: model_rows.typed_value(one) for one in row.inputs}
            for row in form.columns
            if row.treatment is not None
        },
        "utility_target": form.utility_target or None,
    }


def _metric(form: PolicyForm) -> dict[str, Any]:
    """Only what the chosen metric takes: the form shows the fields of all."""
    kind = METRICS.get(form.metric)
    if kind is None:
        return {"name": form.metric}
    told: dict[str, Any] = {"name": kind.name}
    if "aggregate" in kind.options:
        told["aggregate"] = form.aggregate or kind.aggregate
    if "suppression_factor" in kind.options:
        told["suppression_factor"] = number_or_text(form.factor)
    if "weights" in kind.options:
        told["weights"] = {
            row.column.name: weight
            for row in form.quasi_identifiers
            if row.is_generalized and (weight := number_or_text(row.weight)) != 1
        }
    if "target" in kind.options:
        told["target"] = form.metric_target
    return told
