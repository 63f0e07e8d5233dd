"""A profile of a table: what its steward sees before anything is decided.

One pass over batches. Counts, extremes, means and deviations are exact; quantiles and
histograms come from a uniform sample of at most `SAMPLE_ROWS` rows (the whole table
when it is smaller; `sampled` says which). A profile reads private cells: it never
leaves stewards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from privacyhub.engines.tables.checks import Check
from privacyhub.engines.tables.kinds import Kind, kind_of
from privacyhub.engines.tables.rowids import ROW_ID

SAMPLE_ROWS = 100_000
DISTINCT_CAP = 1_000_000
CLASS_CAP = 50
BINS = 20
TOP_VALUES = 20
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

_TRACKED_VALUES = 10_000
_MOSTLY_UNIQUE = 0.95
_SHOWN_CHARACTERS = 200


@dataclass(kw_only=True)
class ColumnProfile:
    """What is known of one column. Dates stand as ISO text, in histograms too."""

    name: str
    kind: str
    missing: int = 0
    distinct: int = 0
    distinct_capped: bool = False
    """`distinct` stopped counting at `DISTINCT_CAP`: there are at least as many."""
    unique_share: float = 0.0
    """Distinct values over present cells, as far as distinct values were counted."""
    minimum: Any = None
    maximum: Any = None
    mean: float | None = None
    std: float | None = None
    quantiles: dict[str, Any] = field(default_factory=dict)
    histogram: dict[str, list[Any]] = field(default_factory=dict)
    """`edges` (one more than bins) and `counts`, of the sample."""
    top: list[tuple[Any, int]] = field(default_factory=list)
    """The most frequent values with their counts."""
    top_exact: bool = True
    """Counts are exact while a column has at most 10,000 values; else lower bounds."""
    classes: list[tuple[Any, int]] | None = None
    """Every value with its count, when there are at most `CLASS_CAP`."""
    text_lengths: dict[str, float] | None = None


@dataclass(kw_only=True)
class TableProfile:
    """The profile of a table, JSON-able."""

    rows: int
    sampled: bool
    columns: list[ColumnProfile]
    checks: list[Check] = field(default_factory=list)

    def column(self, name: str) -> ColumnProfile:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TableProfile:
        columns = []
        for entry in data["columns"]:
            top = [(value, count) for value, count in entry["top"]]
            classes = entry["classes"]
            if classes is not None:
                classes = [(value, count) for value, count in classes]
            columns.append(ColumnProfile(**(entry | {"top": top, "classes": classes})))
        checks = [Check(**entry) for entry in data["checks"]]
        return cls(
            rows=data["rows"], sampled=data["sampled"], columns=columns, checks=checks
        )


def profile(
    batches: Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema,
    checks: Iterable[Check] = (),
) -> TableProfile:
    """Profiles a typed table; `checks` of reading are taken over. `ROW_ID` is left out.

    Memory: the sample, and at most 8 MB of hashes and 10,000 values a column.
    """
    fields = [one for one in schema if one.name != ROW_ID]
    counters = [_Counter(one.name, kind_of(one.type)) for one in fields]
    sample = _Sample([one.name for one in fields])
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        for counter in counters:
            counter.see(batch.column(counter.name))
        sample.see(batch)
    frame = sample.frame(schema=schema)
    columns = [counter.finish(frame[counter.name]) for counter in counters]
    found = [*checks]
    for column in columns:
        found.extend(_checks(column, rows=rows))
    return TableProfile(
        rows=rows, sampled=frame.height < rows, columns=columns, checks=found
    )


def target_checks(column: ColumnProfile) -> list[Check]:
    """What stands against a column as the target of a classification."""
    if column.classes is None:
        return [
            Check(
                code="many_classes",
                column=column.name,
                message=f"The target has more than {CLASS_CAP} classes.",
            )
        ]
    found = []
    if len(column.classes) < 2:
        found.append(
            Check(
                code="one_class",
                column=column.name,
                message="The target has one class: there is nothing to learn.",
            )
        )
    rare = sum(count < 2 for _, count in column.classes)
    if rare:
        found.append(
            Check(
                code="rare_class",
                column=column.name,
                message=f"{rare} of the target's classes have fewer than 2 rows.",
            )
        )
    return found


class _Counter:
    """Exact counts of one column, batch by batch."""

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self._missing = 0
        self._present = 0
        self._hashes = np.empty(0, dtype=np.uint64)
        self._waiting: list[np.ndarray] = []
        self._hashed_cells = 0
        self._capped = False
        self._values: dict[Any, int] = {}
        self._values_exact = True
        self._low: float | None = None
        self._high: float | None = None
        self._mean = 0.0
        self._squares = 0.0
        self._lengths = (0, 0, 0)

    def see(self, column: pa.Array) -> None:
        cells = column.drop_null()
        self._missing += len(column) - len(cells)
        if not len(cells):
            return
        self._count_values(cells)
        if self.kind is Kind.TEXT:
            self._measure(pc.utf8_length(cells).to_numpy(), lengths=True)
        elif self.kind is not Kind.BOOLEAN:
            self._measure(_as_numbers(cells, self.kind))
        self._present += len(cells)

    def finish(self, sample: pl.Series) -> ColumnProfile:
        """The profile, quantiles and histogram from the sampled cells."""
        result = ColumnProfile(name=self.name, kind=self.kind.value)
        self._merge_hashes()
        result.missing = self._missing
        result.distinct = len(self._hashes)
        result.distinct_capped = self._capped
        result.unique_share = result.distinct / max(1, self._hashed_cells)
        ranked = sorted(self._values.items(), key=lambda item: -item[1])
        shown = [(_shown(value), count) for value, count in ranked]
        result.top = shown[:TOP_VALUES]
        result.top_exact = self._values_exact
        if not self._capped and result.distinct <= CLASS_CAP:
            result.classes = shown
        if not self._present or self.kind is Kind.BOOLEAN:
            return result
        std = math.sqrt(self._squares / self._present)
        if self.kind is Kind.TEXT:
            result.text_lengths = {
                "minimum": self._low or 0,
                "maximum": self._high or 0,
                "mean": self._mean,
            }
            return result
        cells = sample.drop_nulls()
        numbers = _as_numbers(cells.to_arrow(), self.kind)
        result.minimum = _from_number(self._low, self.kind)
        result.maximum = _from_number(self._high, self.kind)
        if self.kind.is_numeric:
            result.mean, result.std = _finite(self._mean), _finite(std)
        if len(numbers):
            values = np.quantile(numbers, QUANTILES, method="inverted_cdf")
            result.quantiles = {
                f"{share:g}": _from_number(value, self.kind)
                for share, value in zip(QUANTILES, values, strict=True)
            }
            counts, edges = _histogram(numbers, low=self._low, high=self._high)
            result.histogram = {
                "edges": [_from_number(edge, self.kind, edge=True) for edge in edges],
                "counts": counts.tolist(),
            }
        return result

    def _count_values(self, cells: pa.Array) -> None:
        counted = pc.value_counts(cells)
        values = counted.field("values")
        if not self._capped:
            hashes = pl.Series(pl.from_arrow(values)).hash(seed=0).to_numpy()
            self._waiting.append(hashes)
            self._hashed_cells += len(cells)
            if sum(len(part) for part in self._waiting) > DISTINCT_CAP // 2:
                self._merge_hashes()
        if len(counted) > _TRACKED_VALUES:
            # What is frequent overall is frequent in batches: the tail is not followed.
            self._values_exact = False
            order = pc.select_k_unstable(
                pa.table({"counts": counted.field("counts")}),
                k=10 * TOP_VALUES,
                sort_keys=[("counts", "descending")],
            )
            counted = counted.take(order)
        for value, count in zip(
            counted.field("values").to_pylist(),
            counted.field("counts").to_pylist(),
            strict=True,
        ):
            if value in self._values:
                self._values[value] += count
            elif len(self._values) < _TRACKED_VALUES:
                self._values[value] = count
            else:
                self._values_exact = False

    def _merge_hashes(self) -> None:
        self._hashes = np.unique(np.concatenate([self._hashes, *self._waiting]))
        self._waiting = []
        self._capped = len(self._hashes) > DISTINCT_CAP

    def _measure(self, numbers: np.ndarray, *, lengths: bool = False) -> None:
        """Joins a batch's moments in: Chan, Golub and LeVeque (1979)."""
        with np.errstate(over="ignore", invalid="ignore"):
            count, mean = len(numbers), float(numbers.mean())
            squares = float(((numbers - mean) ** 2).sum())
        total = self._present + count
        delta = mean - self._mean
        self._squares += squares + delta * delta * self._present * count / total
        self._mean += delta * count / total
        low, high = numbers.min().item(), numbers.max().item()
        self._low = low if self._low is None else min(self._low, low)
        self._high = high if self._high is None else max(self._high, high)


class _Sample:
    """A uniform sample of rows: each draws a number, the smallest are kept."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        # Which rows a histogram is drawn from protects nobody: a fixed seed is fine.
        self._random = np.random.default_rng(0)
        self._held: list[pl.DataFrame] = []
        self._rows = 0
        self._most = 1.0  # a row that draws more is not among the smallest

    def see(self, batch: pa.RecordBatch) -> None:
        draws = self._random.random(batch.num_rows)
        kept = (
            pa.Table.from_batches([batch])
            .select(self._names)
            .take(np.flatnonzero(draws < self._most))
        )
        frame = pl.DataFrame(pl.from_arrow(kept))
        drawn = pl.Series("__draw", draws[draws < self._most])
        self._held.append(frame.with_columns(drawn))
        self._rows += frame.height
        if self._rows > 2 * SAMPLE_ROWS:
            self._shrink()

    def frame(self, *, schema: pa.Schema) -> pl.DataFrame:
        if not self._held:
            table = schema.empty_table().select(self._names)
            return pl.DataFrame(pl.from_arrow(table))
        self._shrink()
        return self._held[0].drop("__draw")

    def _shrink(self) -> None:
        every = pl.concat(self._held)
        if every.height > SAMPLE_ROWS:
            least = every.bottom_k(SAMPLE_ROWS, by="__draw")
            # Text in Polars is a view that keeps the batches it came from: copied.
            table = least.to_arrow(compat_level=pl.CompatLevel.oldest())
            every = pl.DataFrame(pl.from_arrow(table))
            self._most = float(every["__draw"].to_numpy().max())
        self._held, self._rows = [every], every.height


def _checks(column: ColumnProfile, *, rows: int) -> list[Check]:
    present = rows - column.missing
    if not present:
        return [_check("all_missing", column, "Every cell is missing.")]
    if column.distinct == 1:
        what = "Every cell" if not column.missing else "Every cell that is not missing"
        return [_check("constant", column, f"{what} has the same value.")]
    found = []
    if column.missing > rows / 2:
        found.append(_check("mostly_missing", column, "Most cells are missing."))
    if (
        column.kind in (Kind.TEXT, Kind.INTEGER)
        and present >= 20
        and column.unique_share >= _MOSTLY_UNIQUE
    ):
        found.append(
            _check("mostly_unique", column, "Almost every cell has its own value.")
        )
    if (
        column.classes is not None
        and len(column.classes) <= CLASS_CAP
        and column.kind in (Kind.TEXT, Kind.BOOLEAN)
        and any(count < 2 for _, count in column.classes)
        and present >= 20
    ):
        found.append(
            _check("rare_class", column, "Some of its values are in one row only.")
        )
    return found


def _check(code: str, column: ColumnProfile, message: str) -> Check:
    return Check(code=code, column=column.name, message=message)


def _as_numbers(cells: pa.Array, kind: Kind) -> np.ndarray:
    """Cells as floats; dates as days and datetimes as microseconds since 1970."""
    if kind is Kind.DATE:
        cells = cells.cast(pa.int32())
    elif kind is Kind.DATETIME:
        cells = cells.cast(pa.timestamp("us")).cast(pa.int64())
    return cells.to_numpy(zero_copy_only=False).astype(np.float64)


def _from_number(value: float | None, kind: Kind, *, edge: bool = False) -> Any:
    if value is None:
        return None
    if kind is Kind.DATE:
        return (date(1970, 1, 1) + timedelta(days=round(value))).isoformat()
    if kind is Kind.DATETIME:
        start = datetime(1970, 1, 1, tzinfo=UTC)
        moment = start + timedelta(microseconds=round(value))
        return moment.replace(tzinfo=None).isoformat()
    if kind is Kind.INTEGER and not edge:
        return round(value)
    return float(value)


def _histogram(
    numbers: np.ndarray, *, low: float | None, high: float | None
) -> tuple[np.ndarray, np.ndarray]:
    low, high = float(low or 0.0), float(high or 0.0)
    if not math.isfinite(high - low) or high == low:
        low, high = low - 0.5, low + 0.5
    return np.histogram(numbers, bins=BINS, range=(low, high))


def _finite(number: float) -> float | None:
    """None for a moment that passes the largest float: values near 1e300."""
    return number if math.isfinite(number) else None


def _shown(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, str):
        return value[:_SHOWN_CHARACTERS]
    return value
