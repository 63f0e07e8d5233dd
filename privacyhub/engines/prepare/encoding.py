"""Encodes typed columns as numbers, from declared or DP-found bounds and domains.

Nothing here is learnt from the rows that are encoded, so encoding costs no privacy;
what the column specifications cost was paid where they were found. The encoder travels
with the model and encodes new rows the same way.

A number becomes: its position in its bounds, scaled to [-1, 1]; its place among knots
(two neighbouring knots share a weight of 1, a piecewise-linear basis); and a mark when
it is missing. A category becomes one mark among its domain, "unknown" and "missing";
a domain of more than `MAX_ONE_HOT` becomes the place of an embedding instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from privacyhub.engines.prepare.columns import ColumnSpec, Kind, Source, TargetSpec

__all__ = [
    "ColumnSpec",
    "EncodedTable",
    "Encoder",
    "Kind",
    "Source",
    "TargetSpec",
    "as_numbers",
    "as_texts",
    "bare_table",
    "boolean_places",
    "category_places",
    "default_knots",
    "places_in",
    "written_out",
]

MAX_ONE_HOT = 64
UNIFORM_KNOTS = 9
_WIDE_RATIO = 100.0
_MOST_WHOLE = 2.0**53  # below it a float holds every whole number


@dataclass(frozen=True, kw_only=True)
class EncodedTable:
    """Rows as a network reads them.

    features: float32 [rows, features]. ids: int32 [rows, embedded columns], with
    `category_sizes` places each. target: float32 [rows], NaN where missing; class
    codes, or the scaled number. units: int64 [rows], equal for rows of one unit and
    -1 without a key; None when each row is a unit.
    """

    features: NDArray[np.float32]
    ids: NDArray[np.int32]
    category_sizes: tuple[int, ...] = ()
    target: NDArray[np.float32] | None = None
    units: NDArray[np.int64] | None = None
    encoder: Encoder | None = None

    @property
    def rows(self) -> int:
        return int(self.features.shape[0])

    def take(self, rows: NDArray[Any]) -> EncodedTable:
        """The table of these rows (a mask or positions)."""
        return EncodedTable(
            features=self.features[rows],
            ids=self.ids[rows],
            category_sizes=self.category_sizes,
            target=None if self.target is None else self.target[rows],
            units=None if self.units is None else self.units[rows],
            encoder=self.encoder,
        )


def bare_table(
    features: NDArray[np.float32], target: NDArray[np.float32] | None = None
) -> EncodedTable:
    """A table of numbers that need no encoding."""
    return EncodedTable(
        features=np.ascontiguousarray(features, dtype=np.float32),
        ids=np.zeros((len(features), 0), dtype=np.int32),
        target=None if target is None else np.asarray(target, dtype=np.float32),
    )


class Encoder:
    """Encodes tables that have the specified columns; keeps no row."""

    def __init__(
        self, columns: Sequence[ColumnSpec], *, target: TargetSpec | None = None
    ) -> None:
        if not columns:
            raise ValueError("There is no input column.")
        names = [column.name for column in columns]
        if len(set(names)) != len(names):
            raise ValueError("An input column is listed twice.")
        if target is not None and target.name in names:
            raise ValueError("The target cannot be an input column too.")
        self.columns = tuple(columns)
        self.target = target
        self._embedded = tuple(
            c
            for c in columns
            if c.kind == "category" and len(c.categories) > MAX_ONE_HOT
        )
        self._knots = {
            c.name: np.asarray(c.knots or default_knots(c.lower, c.upper))
            for c in columns
            if c.lower is not None and c.upper is not None
        }

    @property
    def feature_names(self) -> list[str]:
        """A name for each feature, such as `age`, `age~37`, `age?`, `sex=Male`."""
        names: list[str] = []
        for column in self.columns:
            if column in self._embedded:
                continue
            if column.kind in ("number", "date"):
                names.append(column.name)
                names.extend(f"{column.name}~{k:g}" for k in self._knots[column.name])
                names.append(f"{column.name}?")
            else:
                domain = (
                    ("false", "true")
                    if column.kind == "boolean"
                    else (*column.categories, "(unknown)")
                )
                names.extend(f"{column.name}={value}" for value in domain)
                names.append(f"{column.name}?")
        return names

    @property
    def category_sizes(self) -> tuple[int, ...]:
        """Places of each embedded column: domain, unknown, missing."""
        return tuple(len(c.categories) + 2 for c in self._embedded)

    def encode(
        self, frame: pl.DataFrame, *, unit_of_row: NDArray[np.int64] | None = None
    ) -> EncodedTable:
        """Encode the rows of a frame; the target too when the frame has it.

        Raises ValueError naming a column that is missing.
        """
        self._require_columns(frame)
        features = np.zeros((frame.height, len(self.feature_names)), dtype=np.float32)
        ids = np.zeros((frame.height, len(self._embedded)), dtype=np.int32)
        start = embedded = 0
        for column in self.columns:
            if column in self._embedded:
                ids[:, embedded] = category_places(frame[column.name], column)
                embedded += 1
            elif column.kind in ("number", "date"):
                knots = self._knots[column.name]
                width = len(knots) + 2
                _encode_number(
                    features[:, start : start + width],
                    as_numbers(frame[column.name], kind=column.kind),
                    column=column,
                    knots=knots,
                )
                start += width
            else:
                places = (
                    boolean_places(frame[column.name])
                    if column.kind == "boolean"
                    else category_places(frame[column.name], column)
                )
                width = 3 if column.kind == "boolean" else len(column.categories) + 2
                features[np.arange(frame.height), start + places] = 1
                start += width
        has_target = self.target is not None and self.target.name in frame.columns
        return EncodedTable(
            features=features,
            ids=ids,
            category_sizes=self.category_sizes,
            target=self.encode_target(frame) if has_target else None,
            units=unit_of_row,
            encoder=self,
        )

    def encode_target(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        """Class codes or scaled numbers, float32 [rows]; NaN where there is none."""
        target = self.target
        if target is None:
            raise ValueError("The encoder has no target.")
        if target.name not in frame.columns:
            raise ValueError(f"The target column {target.name} is missing.")
        series = frame[target.name]
        if target.classes:
            codes = places_in(series, target.classes).astype(np.float32)
            codes[codes >= len(target.classes)] = np.nan
            return codes
        numbers = as_numbers(series, kind="number")
        assert target.lower is not None  # noqa: S101 - checked by TargetSpec
        assert target.upper is not None  # noqa: S101
        clipped = np.clip(numbers, target.lower, target.upper)
        scaled = 2 * (clipped - target.lower) / (target.upper - target.lower) - 1
        return scaled.astype(np.float32)

    def target_numbers(self, scaled: NDArray[Any]) -> NDArray[np.float64]:
        """A regression's predictions in the target's own unit."""
        target = self.target
        if target is None or target.lower is None or target.upper is None:
            raise ValueError("The encoder has no numeric target.")
        return target.lower + (np.asarray(scaled, dtype=np.float64) + 1) / 2 * (
            target.upper - target.lower
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "columns": [column.to_dict() for column in self.columns],
            "target": None if self.target is None else self.target.to_dict(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Encoder:
        if stored.get("schema") != 1:
            raise ValueError("The encoder is of an unknown schema.")
        target = stored.get("target")
        return cls(
            [ColumnSpec.from_dict(column) for column in stored["columns"]],
            target=None if target is None else TargetSpec.from_dict(target),
        )

    def _require_columns(self, frame: pl.DataFrame) -> None:
        missing = [c.name for c in self.columns if c.name not in frame.columns]
        if missing:
            raise ValueError(f"Missing columns: {', '.join(missing)}.")


def default_knots(lower: float, upper: float) -> tuple[float, ...]:
    """Knots that depend on the bounds alone.

    Evenly spaced; where the upper bound is large against 1 and the lower one is not
    negative, evenly spaced on a logarithmic scale besides, for amounts.
    """
    even = np.linspace(lower, upper, UNIFORM_KNOTS)
    if lower < 0 or upper - lower < _WIDE_RATIO:
        return tuple(even.tolist())
    logarithmic = lower + np.expm1(
        np.linspace(0, math.log1p(upper - lower), 2 * UNIFORM_KNOTS - 1)
    )
    logarithmic[-1] = upper
    return tuple(np.unique(logarithmic).tolist())


def as_numbers(series: pl.Series, *, kind: str) -> NDArray[np.float64]:
    """A column as float64 [rows]; dates in days; NaN where missing or not finite."""
    if kind == "date":
        if series.dtype == pl.String:
            series = series.str.strip_chars().str.to_date(strict=False)
        series = series.cast(pl.Date, strict=False).cast(pl.Int32)
    elif series.dtype == pl.String:
        series = series.str.strip_chars()
    numbers = series.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def written_out(series: pl.Series) -> pl.Series:
    """A column as text: whole floats like integers, null where not finite."""
    if not series.dtype.is_float():
        return series.cast(pl.String, strict=False)
    held = pl.col("value")  # the column's own name may be a pattern
    is_whole = (held == held.floor()) & (held.abs() < _MOST_WHOLE)
    as_integer = held.cast(pl.Int64, strict=False).cast(pl.String)
    texts = pl.when(is_whole).then(as_integer).otherwise(held.cast(pl.String))
    frame = series.to_frame("value").select(pl.when(held.is_finite()).then(texts))
    return frame.to_series().alias(series.name)


def as_texts(series: pl.Series) -> pl.Series:
    """A column as text without surrounding blanks; null where missing or empty."""
    texts = written_out(series.alias("value")).str.strip_chars()
    return texts.set(texts == "", None).alias(series.name)


def places_in(series: pl.Series, domain: Sequence[str]) -> NDArray[np.int64]:
    """Positions in the domain; len(domain) if unknown, len(domain) + 1 if missing.

    A column of numbers is matched by what the domain's names are as numbers: 1 and 1.0
    are the same class however either is written.
    """
    unknown, missing = len(domain), len(domain) + 1
    texts = as_texts(series)
    if not domain:
        codes = pl.Series(np.full(len(texts), unknown, dtype=np.int64))
    else:
        names = list(domain)
        if series.dtype.is_numeric():
            names = [_as_whole(name) for name in names]
        places = {name: len(names) - 1 - k for k, name in enumerate(reversed(names))}
        codes = texts.replace_strict(places, default=unknown, return_dtype=pl.Int64)
    found = codes.to_numpy().copy()
    found[texts.is_null().to_numpy()] = missing
    return found.astype(np.int64)


def _as_whole(name: str) -> str:
    """A whole number's name as an integer is written; any other name as it is."""
    try:
        number = float(name)
    except ValueError:
        return name
    is_whole = number.is_integer() and abs(number) < _MOST_WHOLE
    return str(int(number)) if is_whole else name


def category_places(series: pl.Series, column: ColumnSpec) -> NDArray[np.int64]:
    """Each row's place among the column's domain, unknown and missing."""
    return places_in(series, column.categories)


def boolean_places(series: pl.Series) -> NDArray[np.int64]:
    """0 for false, 1 for true, 2 for missing or neither."""
    texts = as_texts(series).str.to_lowercase()
    places = places_in(texts, ("false", "true", "0", "1", "no", "yes"))
    return np.where(places < 6, places % 2, 2)


def _encode_number(
    out: NDArray[np.float32],
    numbers: NDArray[np.float64],
    *,
    column: ColumnSpec,
    knots: NDArray[np.float64],
) -> None:
    """Write one column's features into `out`, [rows, knots + 2], which holds zeros."""
    assert column.lower is not None  # noqa: S101 - checked by ColumnSpec
    assert column.upper is not None  # noqa: S101
    missing = ~np.isfinite(numbers)
    inside = np.clip(
        np.where(missing, column.lower, numbers), column.lower, column.upper
    )
    out[:, 0] = 2 * (inside - column.lower) / (column.upper - column.lower) - 1
    inside = np.clip(inside, knots[0], knots[-1])
    left = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
    share = (inside - knots[left]) / (knots[left + 1] - knots[left])
    row = np.arange(len(numbers))
    out[row, 1 + left] = 1 - share
    out[row, 2 + left] = share
    out[missing] = 0
    out[missing, -1] = 1
