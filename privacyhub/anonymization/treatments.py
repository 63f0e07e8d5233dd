"""Treatments of columns, applied to the rows before a search looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from privacyhub.anonymization import pseudonyms
from privacyhub.anonymization.vocabulary import TREATMENTS
from privacyhub.anonymization.vocabulary_treatments import parameters_of
from privacyhub.datasets.errors import DataError
from privacyhub.engines import anonymize as an


def applied(
    frame: pl.DataFrame, *, policy: Mapping[str, Any], owner: Any
) -> pl.DataFrame:
    """The rows with every treatment that the policy names; dropped columns stay.

    Raises DataError naming the column where a treatment does not fit its values.
    """
    treated = policy.get("treatments", {})
    for name, entry in treated.items():
        try:
            frame = _one(frame, name, entry, owner=owner)
        except an.AnonymizeError as error:
            raise DataError(str(error), code="treatment", column=name) from error
    return _aggregated(frame, treated)


def _one(
    frame: pl.DataFrame, name: str, entry: Mapping[str, Any], *, owner: Any
) -> pl.DataFrame:
    if entry["name"] == pseudonyms.PSEUDONYM:
        key = pseudonyms.key_of(name=entry["domain"], owner=owner)
        column = an.pseudonymize(frame[name], key=key, domain=entry["domain"])
        return frame.with_columns(column.alias(name))
    apply = TREATMENTS[entry["name"]].apply
    if apply is None:
        return frame
    column = apply(frame[name], **parameters_of(entry["name"], dict(entry)))
    return frame.with_columns(_kept_whole(column, frame[name].dtype).alias(name))


def _kept_whole(column: pl.Series, before: pl.DataType) -> pl.Series:
    """Whole numbers that are still whole stay so: 40, not 40.0."""
    if not before.is_integer() or not column.dtype.is_float():
        return column
    whole = column.drop_nulls()
    return column.cast(pl.Int64) if bool((whole == whole.round()).all()) else column


def _aggregated(
    frame: pl.DataFrame, treated: Mapping[str, Mapping[str, Any]]
) -> pl.DataFrame:
    """Columns with the same k and aggregate are grouped together."""
    groups: dict[tuple[int, str], list[str]] = {}
    for name, entry in treated.items():
        if entry["name"] == "microaggregate":
            groups.setdefault((entry["k"], entry["aggregate"]), []).append(name)
    for (k, aggregate), columns in groups.items():
        try:
            frame = an.microaggregate(frame, columns, k=k, aggregate=aggregate)
        except an.AnonymizeError as error:
            raise DataError(str(error), code="treatment", column=columns[0]) from error
    return frame
