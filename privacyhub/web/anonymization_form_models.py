"""The models of the anonymize form: a list of rows that grows and shrinks.

The fields of row i are `model-i-name`, `model-i-column` and `model-i-<parameter>`;
for what a model needs besides, `model-i-hierarchy`, `model-i-subset` (a version's id,
or `column` with `model-i-subset-column`, `-is`, `-value`) and `model-i-population` (a
version's id, or `people` with `model-i-people`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from privacyhub.anonymization.policies import AUTOMATIC, MOST_MODELS
from privacyhub.anonymization.policy_models import COMPARISONS
from privacyhub.anonymization.vocabulary import MODELS, ModelKind, Need, Parameter

OF_COLUMN = "column"
PEOPLE = "people"


@dataclass(frozen=True)
class Input:
    """A parameter with what was typed into it."""

    parameter: Parameter
    name: str
    value: str


@dataclass(frozen=True)
class Subset:
    """Which rows: `source` is a version's id, `column`, or nothing yet."""

    source: str = OF_COLUMN
    column: str = ""
    comparison: str = "equals"
    value: str = ""


@dataclass(frozen=True)
class Population:
    """Who the table was taken from: a version's id, `people`, or nobody named."""

    source: str = ""
    people: str = ""


@dataclass(frozen=True)
class ModelRow:
    """A row of the list of models."""

    index: int
    kind: ModelKind
    column: str
    inputs: list[Input]
    hierarchy: str = AUTOMATIC
    subset: Subset = field(default_factory=Subset)
    population: Population = field(default_factory=Population)

    comparisons = COMPARISONS

    @property
    def place(self) -> str:
        """The index as templates join it to a field's name."""
        return str(self.index)

    @property
    def has_hierarchy(self) -> bool:
        return Need.HIERARCHY in self.kind.needs

    @property
    def has_subset(self) -> bool:
        return Need.SUBSET in self.kind.needs

    @property
    def has_population(self) -> bool:
        return Need.POPULATION in self.kind.needs

    def entry(self) -> dict[str, Any]:
        """The row as a policy's model."""
        told: dict[str, Any] = {"name": self.kind.name}
        if self.kind.sensitive:
            told["column"] = self.column
        for one in self.inputs:
            told[one.parameter.name] = typed_value(one)
        if self.has_hierarchy:
            told["hierarchy"] = self.hierarchy
        if self.has_subset:
            told["subset"] = self._subset()
        if self.has_population:
            told["population"] = self._population()
        return told

    def _subset(self) -> dict[str, Any]:
        if self.subset.source != OF_COLUMN:
            return {"version": self.subset.source}
        return {
            "column": self.subset.column,
            "is": self.subset.comparison,
            "value": self.subset.value,
        }

    def _population(self) -> dict[str, Any] | None:
        if not self.population.source:
            return None
        if self.population.source == PEOPLE:
            return {"people": number_or_text(self.population.people)}
        return {"version": self.population.source}


def row(
    index: int, kind: ModelKind, typed: Mapping[str, Any] | None = None
) -> ModelRow:
    """A row with what a policy's entry says, or with the defaults."""
    entry = typed or {}
    named = entry.get("subset") or {}
    people = entry.get("population") if Need.POPULATION in kind.needs else None
    return ModelRow(
        index=index,
        kind=kind,
        column=entry.get("column", ""),
        inputs=inputs_of(kind.parameters, entry, prefix=f"model-{index}-"),
        hierarchy=entry.get("hierarchy", AUTOMATIC),
        subset=Subset(
            source=named.get("version", OF_COLUMN),
            column=named.get("column", ""),
            comparison=named.get("is", "equals"),
            value=str(named.get("value", "")),
        ),
        population=_population(people, kind=kind),
    )


def _population(given: Mapping[str, Any] | None, *, kind: ModelKind) -> Population:
    if not given:
        return Population(source=PEOPLE if kind.people else "")
    if "version" in given:
        return Population(source=given["version"])
    return Population(source=PEOPLE, people=str(given["people"]))


def of_request(data: QueryDict) -> list[ModelRow]:
    """The rows that were sent, less the one to remove, and the one to add."""
    found: list[ModelRow] = []
    for index in range(MOST_MODELS):
        kind = MODELS.get(data.get(f"model-{index}-name", ""))
        if kind is None or data.get("remove") == str(index):
            continue
        found.append(_sent(data, index, kind, place=len(found)))
    added = MODELS.get(data.get("add", "")) if "add_model" in data else None
    if added is not None and len(found) < MOST_MODELS:
        found.append(row(len(found), added))
    return found


def _sent(data: QueryDict, index: int, kind: ModelKind, *, place: int) -> ModelRow:
    def get(name: str, default: str = "") -> str:
        return data.get(f"model-{index}-{name}", default)

    typed = {parameter.name: get(parameter.name) for parameter in kind.parameters}
    return ModelRow(
        index=place,
        kind=kind,
        column=get("column"),
        inputs=inputs_of(kind.parameters, typed, prefix=f"model-{place}-"),
        hierarchy=get("hierarchy", AUTOMATIC),
        subset=Subset(
            source=get("subset", OF_COLUMN),
            column=get("subset-column"),
            comparison=get("subset-is", "equals"),
            value=get("subset-value"),
        ),
        population=Population(source=get("population"), people=get("people")),
    )


def inputs_of(
    parameters: tuple[Parameter, ...], typed: Mapping[str, Any], *, prefix: str
) -> list[Input]:
    """An input for each parameter, with what was typed or the default."""
    found = []
    for parameter in parameters:
        value = typed.get(parameter.name, parameter.default)
        text = "" if value is None else str(value)
        found.append(Input(parameter, name=prefix + parameter.name, value=text))
    return found


def typed_value(one: Input) -> Any:
    """What an input says; what is no number is left as it was typed."""
    if one.parameter.choices or one.parameter.longest:
        return one.value
    if one.parameter.optional and not one.value.strip():
        return None
    return number_or_text(one.value)


def number_or_text(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
