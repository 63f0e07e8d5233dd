"""What models need besides numbers, loaded in the worker: subsets, populations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray

from privacyhub.anonymization import hierarchies, policy_models, treatments
from privacyhub.anonymization.policy_checks import AUTOMATIC
from privacyhub.anonymization.vocabulary import MODELS, Need
from privacyhub.datasets import tables
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import require_open
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.hierarchies import as_text
from privacyhub.engines.anonymize.subsets import rows_of
from privacyhub.engines.tables import ROW_ID

Mask = NDArray[np.bool_]
Inputs = dict[int, dict[Need, Any]]


def versions_of(policy: Mapping[str, Any]) -> list[Version]:
    """The versions that the policy's models read besides its own; open ones only."""
    found = []
    for pk in dict.fromkeys(policy_models.versions_named(policy["models"])):
        version = Version.objects.filter(pk=UUID(pk)).first()
        if version is None:
            raise Conflict("A version that a model names is gone.", code="no_version")
        require_open(version)
        found.append(version)
    return found


def load(
    frame: pl.DataFrame, *, policy: Mapping[str, Any], columns: list[str], owner: Any
) -> Inputs:
    """By place of a model, what it needs; `columns` are the quasi-identifiers.

    `frame` holds the rows as the search will see them, `ROW_ID` included; a population
    is treated as they were. Raises DataError where a subset or a population does not
    fit.
    """
    treated = policy.get("treatments", {})
    own = {"treatments": {n: treated[n] for n in columns if n in treated}}
    others = {str(version.pk): version for version in versions_of(policy)}
    found: Inputs = {}
    for place, entry in enumerate(policy["models"]):
        kind, needs = MODELS[entry["name"]], dict[Need, Any]()
        named = entry.get("hierarchy", AUTOMATIC)
        if Need.HIERARCHY in kind.needs and not (kind.optional and named == AUTOMATIC):
            needs[Need.HIERARCHY] = hierarchies.of_model(
                {"hierarchy": named, **entry}, values=frame[entry["column"]]
            )
        if "subset" in entry:
            needs[Need.SUBSET] = _subset(entry["subset"], frame=frame, others=others)
        if entry.get("population") and isinstance(entry["population"], Mapping):
            listed = _population(entry["population"], columns=columns, others=others)
            if isinstance(listed, pl.DataFrame):
                listed = treatments.applied(listed, policy=own, owner=owner)
            needs[Need.POPULATION] = listed
        if needs:
            found[place] = needs
    return found


def population_of(inputs: Inputs) -> pl.DataFrame | None:
    """The listed population that a model brings; hierarchies must place its values."""
    for needs in inputs.values():
        table = needs.get(Need.POPULATION)
        if isinstance(table, pl.DataFrame):
            return table
    return None


def _subset(
    entry: Mapping[str, Any], *, frame: pl.DataFrame, others: Mapping[str, Version]
) -> Mask:
    if "version" in entry:
        mask = _rows_of_version(others[entry["version"]], frame=frame)
    else:
        mask = compared(
            frame[entry["column"]], comparison=entry["is"], value=entry["value"]
        )
    if not mask.any():
        raise DataError("The subset of the rows is empty.", code="empty_subset")
    return mask


def _rows_of_version(version: Version, *, frame: pl.DataFrame) -> Mask:
    """By row id within a family; else by the values of the columns that both have."""
    ids = tables.load(version, columns=[ROW_ID])[ROW_ID]
    mask: Mask = frame[ROW_ID].is_in(ids.implode()).to_numpy()
    if mask.any():
        return mask
    names = set(version.columns.values_list("name", flat=True))
    common = [name for name in frame.columns if name in names and name != ROW_ID]
    if not common:
        raise DataError("The subset has no column of the table.", code="subset")
    try:
        return rows_of(tables.load(version, columns=common), frame=frame)
    except an.AnonymizeError as error:
        raise DataError(str(error), code="subset") from error


def compared(series: pl.Series, *, comparison: str, value: str) -> Mask:
    """Which rows a filter keeps; a missing cell is never kept.

    Numbers are compared as numbers, dates as dates, everything else as text.
    """
    if isinstance(series.dtype, pl.Enum):  # codes, and not what they stand for
        series = series.cast(pl.String)
    if comparison in ("at_least", "at_most"):
        bound: Any
        if isinstance(series.dtype, pl.Date | pl.Datetime):
            found, bound = series.cast(pl.Datetime("us", None)), _moment(value)
        else:
            found, bound = series.cast(pl.Float64, strict=False), _number(value)
        kept = found >= bound if comparison == "at_least" else found <= bound
    else:
        same = _equals(series, value)
        kept = same if comparison == "equals" else ~same & series.is_not_null()
    mask: Mask = kept.fill_null(value=False).to_numpy()
    return mask


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise DataError(
            "The subset's bound must be a number.", code="subset"
        ) from error


def _moment(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=None)
    except ValueError as error:
        raise DataError(
            "The subset's bound must be a date, such as 2015-01-31.", code="subset"
        ) from error


def _equals(series: pl.Series, value: str) -> pl.Series:
    if series.dtype.is_numeric():
        try:
            return series.cast(pl.Float64) == float(value)
        except ValueError:
            return pl.Series([False] * len(series), dtype=pl.Boolean)
    return as_text(series) == value


def _population(
    entry: Mapping[str, Any], *, columns: list[str], others: Mapping[str, Version]
) -> pl.DataFrame | int:
    if "people" in entry:
        return int(entry["people"])
    version = others[entry["version"]]
    names = set(version.columns.values_list("name", flat=True))
    for name in columns:
        if name not in names:
            raise DataError(
                f"The population has no column “{name}”.",
                code="population",
                column=name,
            )
    return tables.load(version, columns=columns)
