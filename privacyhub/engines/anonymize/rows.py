"""The two steps that see all rows: group by and count, and map the values.

Everything between them works on distinct rows with a weight. `Rows` is the one
interface of both, so that a distributed engine can take them over; `FrameRows` is the
embedded one, on a Polars frame. A table that is larger than memory as strings is read
batch by batch into a frame of codes, one byte a cell for up to 255 values:

>>> batches = [pl.DataFrame({"job": ["a", "b"]}), pl.DataFrame({"job": ["c", "a"]})]
>>> compact(batches)["job"].dtype
Enum(categories=['a', 'b', 'c'])
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from .hierarchies import ROOT, as_text
from .keys import WIDE, Bools, Ints, dense_keys, pack, sorted_counts, unpack

# Rows that are mapped at a time.
SLICE_ROWS = 1_000_000
# Text columns are coded together, on all cores, as long as their codes take no more.
CODED_BYTES = 64_000_000
# A column with more values than this is kept as it is, and not as codes.
MOST_VALUES = 65_535


@dataclass(frozen=True)
class Coded:
    """A column as codes of the rows, and the values they stand for, sorted.

    A missing value is a value, the last one.
    """

    codes: Ints
    values: pl.Series


@dataclass(frozen=True)
class Grouped:
    """Distinct combinations of codes: one array a column, and how often each occurs.

    `rows` counts the rows that are anonymized, `population` those of the table that
    they were taken from.
    """

    codes: list[Ints]
    rows: Ints
    population: Ints


@dataclass(frozen=True)
class Recoding:
    """What the rows of one column show: `labels[code]`, and None for missing."""

    codes: Ints
    labels: Sequence[str | None]


class Rows(ABC):
    """A table, as far as anonymization has to see all of its rows."""

    @property
    @abstractmethod
    def height(self) -> int: ...

    @abstractmethod
    def code(self, columns: Sequence[str]) -> list[Coded]:
        """The columns as codes."""

    @abstractmethod
    def group(
        self,
        codes: Sequence[Ints],
        *,
        sizes: Sequence[int],
        counted: Bools | None = None,
        among: Bools | None = None,
    ) -> Grouped:
        """Group by the codes and count. `counted` and `among` mark rows; None: all."""

    @abstractmethod
    def map(
        self, columns: Mapping[str, Recoding], *, hidden: Bools
    ) -> Iterator[pl.DataFrame]:
        """The table in slices, in order, its columns mapped; hidden rows show `*`."""


class FrameRows(Rows):
    """A Polars frame in memory."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    @property
    def height(self) -> int:
        return self.frame.height

    def code(self, columns: Sequence[str]) -> list[Coded]:
        return factorize_columns([self.frame[name] for name in columns])

    def group(
        self,
        codes: Sequence[Ints],
        *,
        sizes: Sequence[int],
        counted: Bools | None = None,
        among: Bools | None = None,
    ) -> Grouped:
        if math.prod(sizes) >= WIDE:
            return _grouped_wide(codes, sizes=sizes, counted=counted, among=among)
        keys, radices = pack(codes, sizes=sizes)
        if counted is None:
            keys.sort()
            unique, rows = sorted_counts(keys)
            del keys
            return Grouped(unpack(unique, radices=radices), rows, rows)
        unique, inverse = np.unique(keys, return_inverse=True)
        inner, outer = _counts(inverse, len(unique), counted=counted, among=among)
        present = (inner > 0) | (outer > 0)
        return Grouped(
            unpack(unique[present], radices=radices), inner[present], outer[present]
        )

    def map(
        self, columns: Mapping[str, Recoding], *, hidden: Bools
    ) -> Iterator[pl.DataFrame]:
        for start in range(0, max(self.height, 1), SLICE_ROWS):
            stop = start + SLICE_ROWS
            part = self.frame[start:stop]
            yield part.with_columns(
                _shown(
                    recoding,
                    rows=slice(start, stop),
                    hidden=hidden[start:stop],
                    compact=isinstance(part.schema[name], pl.Enum),
                ).alias(name)
                for name, recoding in columns.items()
            )


def _counts(
    groups: Ints, size: int, *, counted: Bools | None, among: Bools | None
) -> tuple[Ints, Ints]:
    """Rows of each group that are anonymized, and those they were taken from."""
    inner = groups if counted is None else groups[counted]
    outer = groups if among is None else groups[among]
    return np.bincount(inner, minlength=size), np.bincount(outer, minlength=size)


def _grouped_wide(
    codes: Sequence[Ints],
    *,
    sizes: Sequence[int],
    counted: Bools | None,
    among: Bools | None,
) -> Grouped:
    """`FrameRows.group` for more combinations than a key holds."""
    unique, first, groups = np.unique(
        dense_keys(codes, sizes=sizes), return_index=True, return_inverse=True
    )
    inner, outer = _counts(groups, len(unique), counted=counted, among=among)
    present = (inner > 0) | (outer > 0)
    rows = first[present]
    return Grouped([code[rows] for code in codes], inner[present], outer[present])


def _shown(
    recoding: Recoding, *, rows: slice, hidden: Bools, compact: bool
) -> pl.Series:
    """The labels of some rows; as codes where the table has codes."""
    known = list(dict.fromkeys([*recoding.labels, ROOT]))
    if None in known:
        known.remove(None)
        known.append(None)
    place = {label: index for index, label in enumerate(known)}
    table = np.array([place[label] for label in recoding.labels], dtype=np.uint32)
    codes = table[recoding.codes[rows]]
    codes[hidden] = place[ROOT]
    if not compact:
        return pl.Series(known, dtype=pl.String).gather(codes)
    kind = pl.Enum([label for label in known if label is not None])
    return pl.Series(known, dtype=kind).gather(codes)


def compact(
    batches: Iterable[pl.DataFrame | pa.RecordBatch], *, plain: Sequence[str] = ()
) -> pl.DataFrame:
    """A table of batches as one frame, its text columns as codes (`pl.Enum`).

    Columns in `plain` and those with too many values to gain from it stay text.
    """
    parts: dict[str, list[pl.Series]] = {}
    known: dict[str, dict[str, int]] = {}
    for batch in batches:
        for series in _apart(batch):
            name = series.name
            coded = series.dtype == pl.String and name not in plain
            if name not in parts and coded:
                known[name] = {}
            if name in known:
                series = _extend(series, known[name])
            parts.setdefault(name, []).append(series)
            if name in known and len(known[name]) > MOST_VALUES:
                values = pl.Series(list(known.pop(name)), dtype=pl.String)
                parts[name] = [values.gather(part) for part in parts[name]]
    columns = []
    for name, found in parts.items():
        series = pl.concat([part.cast(found[-1].dtype) for part in found])
        found.clear()
        if name in known:
            columns.append(_sorted_enum(series, list(known[name])).alias(name))
        else:
            columns.append(series.alias(name))
    return pl.DataFrame(columns)


def _apart(batch: pl.DataFrame | pa.RecordBatch) -> Iterator[pl.Series]:
    """The columns one by one: taken together, numbers that are kept would hold on to
    the text beside them."""
    if isinstance(batch, pl.DataFrame):
        yield from batch
        return
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        yield pl.Series(name, values)


def _extend(series: pl.Series, known: dict[str, int]) -> pl.Series:
    """Codes by first occurrence; what is new goes into `known`."""
    for value in series.unique().drop_nulls().sort():
        known.setdefault(value, len(known))
    kind: type[pl.DataType] = pl.UInt8 if len(known) < 2**8 else pl.UInt16
    if len(known) > MOST_VALUES:
        kind = pl.UInt32
    return series.cast(pl.Enum(list(known))).to_physical().cast(kind)


def _sorted_enum(codes: pl.Series, values: list[str]) -> pl.Series:
    order = sorted(range(len(values)), key=values.__getitem__)
    rank = np.empty(len(values), dtype=np.uint16)
    rank[order] = np.arange(len(values))
    kind = pl.Enum([values[place] for place in order])
    moved = pl.Series(rank).gather(codes) if len(values) else codes
    physical = pl.UInt8 if len(values) < 2**8 else pl.UInt16
    return moved.cast(physical).cast(kind)


def with_root(coded: Coded, *, root: str) -> Coded:
    """A column's codes where a cell that shows `*` holds the root, whatever that is."""
    values = coded.values
    if root == ROOT or values.dtype != pl.String or ROOT not in values:
        return coded
    told = values.to_list()
    star = told.index(ROOT)
    if root not in told:
        told[star] = root
        return Coded(coded.codes, pl.Series(told, dtype=pl.String))
    table = np.arange(len(told), dtype=np.int64)
    table[star + 1 :] -= 1
    del told[star]
    table[star] = told.index(root)
    return Coded(table[coded.codes], pl.Series(told, dtype=pl.String))


def factorize(series: pl.Series) -> tuple[Ints, pl.Series]:
    """Codes of the rows and the distinct values they stand for (null is a value)."""
    coded = factorize_columns([series])[0]
    return coded.codes, coded.values


def factorize_columns(columns: Sequence[pl.Series]) -> list[Coded]:
    """`Coded` for each column. Text is coded for several columns at once."""
    out: dict[int, Coded] = {}
    text: dict[str, pl.Series] = {}
    for place, column in enumerate(columns):
        series = column.fill_nan(None) if column.dtype.is_float() else column
        numbers = _whole_numbers(series)
        if numbers is not None:
            out[place] = numbers
        elif isinstance(series.dtype, pl.Enum):
            out[place] = _known_codes(series, occurring=False)
        else:
            plain = series if series.dtype == pl.String else as_text(series)
            text[str(place)] = plain
    for name, series in _categorized(text):
        out[int(name)] = _known_codes(series, occurring=True)
    return [out[place] for place in range(len(columns))]


def _categorized(text: Mapping[str, pl.Series]) -> Iterator[tuple[str, pl.Series]]:
    """The columns as categories of their own; of a long table a few at a time."""
    names = list(text)
    rows = len(text[names[0]]) if names else 0
    together = max(CODED_BYTES // max(4 * rows, 1), 1)
    for start in range(0, len(names), together):
        group = names[start : start + together]
        frame = pl.DataFrame([text[name].alias(name) for name in group])
        coded = frame.select(
            pl.col(name).cast(pl.Categorical(pl.Categories.random())) for name in group
        )
        for name in group:
            yield name, coded[name]


def _known_codes(series: pl.Series, *, occurring: bool) -> Coded:
    """Codes in the order of the values that occur; categories are in any order.

    `occurring`: each category is known to occur.
    """
    values = series.cat.get_categories()
    codes = series.to_physical()
    missing = codes.null_count() > 0
    if missing:
        codes = codes.cast(pl.UInt32).fill_null(len(values))
    size = len(values) + missing
    names = values.to_list()
    order = range(len(names))
    if not occurring:
        counts = np.bincount(codes.to_numpy(), minlength=size)[: len(names)]
        order = np.flatnonzero(counts).tolist()
    ranked = np.array(sorted(order, key=names.__getitem__), dtype=np.int64)
    table = np.zeros(size, dtype=np.min_scalar_type(max(size, 1)))
    table[ranked] = np.arange(len(ranked))
    table[len(values) :] = len(ranked)
    kept = [names[place] for place in ranked] + [None] * missing
    return Coded(
        codes=pl.Series(table).gather(codes).to_numpy() if size else codes.to_numpy(),
        values=pl.Series(kept, dtype=pl.String),
    )


def _whole_numbers(series: pl.Series) -> Coded | None:
    """Whole numbers in a narrow range are counted instead of looked up."""
    if not series.dtype.is_integer() or series.null_count() or not len(series):
        return None
    numbers = series.to_numpy()
    low, high = int(numbers.min()), int(numbers.max())
    if high - low >= max(1024, len(numbers)):
        return None
    offsets = numbers.astype(np.int64) - low
    present = np.flatnonzero(np.bincount(offsets))
    table = np.zeros(high - low + 1, dtype=np.min_scalar_type(len(present)))
    table[present] = np.arange(len(present))
    return Coded(codes=table[offsets], values=pl.Series(present + low))
