"""A table as the search sees it: distinct weighted rows of small integer codes.

Quasi-identifiers become codes with a lookup table a level; rows that agree in every
quasi-identifier and every sensitive column become one entry with a weight. Whatever
follows works on entries; only `encode` and recoding see all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import AnonymizeError
from .hierarchies import Hierarchy, as_text

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    """One quasi-identifier over the values that occur in the table.

    maps[l][c]: the code at level l of the value with code c; sizes[l]: how many codes
    level l has; labels[l][code]; shares[l][c]: the part of all leaves of the hierarchy
    that lie under the label of c at level l (1 for a cell that was suppressed before).
    """

    name: str
    hierarchy: Hierarchy
    maps: tuple[Ints, ...]
    sizes: tuple[int, ...]
    labels: tuple[tuple[str, ...], ...]
    shares: tuple[Floats, ...]

    @property
    def height(self) -> int:
        return len(self.maps) - 1

    @property
    def leaves(self) -> int:
        return len(self.hierarchy.levels)

    @cached_property
    def level_shares(self) -> tuple[Floats, ...]:
        """shares by the code of the level itself instead of the value's code."""
        out = []
        for level, mapping in enumerate(self.maps):
            share = np.empty(self.sizes[level])
            share[mapping] = self.shares[level]
            out.append(share)
        return tuple(out)


@dataclass(frozen=True)
class Sensitive:
    """A sensitive column: codes of the entries and the label of each code."""

    name: str
    codes: Ints
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """The encoded table.

    codes[j]: level-0 codes of the entries in column j, shape (entries,). `weights`
    counts the rows of an entry that are anonymized, `population` the rows of the table
    they were taken from; `separate` says that the two differ. `subset` marks the rows
    that are anonymized (None: all), `hidden` those that were suppressed before.
    """

    columns: tuple[Column, ...]
    codes: tuple[Ints, ...]
    weights: Ints
    population: Ints
    sensitive: Mapping[str, Sensitive]
    rows: int
    row_codes: tuple[Ints, ...] = field(repr=False)
    subset: Bools | None = field(repr=False, default=None)
    hidden: Bools | None = field(repr=False, default=None)
    separate: bool = False

    @property
    def heights(self) -> tuple[int, ...]:
        return tuple(column.height for column in self.columns)

    @cached_property
    def total(self) -> int:
        """Rows that are anonymized."""
        return int(self.weights.sum())

    @cached_property
    def leaf_counts(self) -> tuple[Ints, ...]:
        """Rows by level-0 code, for each column."""
        return tuple(
            count_by(codes, weights=self.weights, size=column.sizes[0])
            for column, codes in zip(self.columns, self.codes, strict=True)
        )


def count_by(codes: Ints, *, weights: Ints, size: int) -> Ints:
    """Sum of weights by code; exact below 2**53 rows."""
    return np.bincount(codes, weights=weights, minlength=size).astype(np.int64)


def encode(
    frame: pl.DataFrame,
    *,
    quasi_identifiers: Mapping[str, Hierarchy],
    sensitive: Sequence[str] = (),
    subset: Bools | None = None,
    population: pl.DataFrame | None = None,
) -> Problem:
    """Encode a table; raises AnonymizeError when a value has no place.

    `subset`: the rows that are anonymized, the others being their population; or
    `population`: the table that this one was taken from.
    """
    columns, codes = [], []
    for name, hierarchy in quasi_identifiers.items():
        series = frame[name]
        if population is not None:
            series = pl.concat([as_text(series), as_text(population[name])])
        column, values = _encode_column(series, hierarchy=hierarchy, name=name)
        columns.append(column)
        codes.append(values.astype(np.min_scalar_type(column.sizes[0])))
    row_codes = tuple(values[: frame.height] for values in codes)
    labels, others = [], []
    for name in sensitive:
        values, known = factorize(frame[name])
        if population is not None:
            values = np.concatenate([values, np.zeros(population.height, np.int64)])
        others.append(values)
        labels.append(tuple(as_text(known).to_list()))
    sizes = [c.sizes[0] for c in columns] + [len(names) for names in labels]
    hidden = _hidden_rows(columns, codes)
    rows = np.arange(len(codes[0]))
    counted: Bools | None = subset
    among: Bools | None = None
    if population is not None:
        counted, among = rows < frame.height, rows >= frame.height
    if hidden is not None:
        counted = ~hidden if counted is None else counted & ~hidden
        among = ~hidden if among is None else among & ~hidden
    entries, weights, larger = _distinct(
        [*codes, *others], sizes=sizes, counted=counted, among=among
    )
    count = len(columns)
    return Problem(
        columns=tuple(columns),
        codes=tuple(entries[:count]),
        weights=weights,
        population=larger,
        sensitive={
            name: Sensitive(name=name, codes=codes, labels=names)
            for name, codes, names in zip(
                sensitive, entries[count:], labels, strict=True
            )
        },
        rows=frame.height,
        row_codes=row_codes,
        subset=subset,
        hidden=None if hidden is None else hidden[: frame.height],
        separate=counted is not None,
    )


def _hidden_rows(columns: Sequence[Column], codes: Sequence[Ints]) -> Bools | None:
    """Rows that were suppressed before: the root in every quasi-identifier.

    They are in no class, so that they do not pass for a class of their own. With
    hierarchies of one label the values look the same, and count as values.
    """
    hidden: Bools | None = None
    for column, values in zip(columns, codes, strict=True):
        root = column.hierarchy.root
        if column.hierarchy.row_of(root) is not None or root not in column.labels[0]:
            return None
        here = values == column.labels[0].index(root)
        hidden = here if hidden is None else hidden & here
    return hidden if hidden is not None and hidden.any() else None


def factorize(series: pl.Series) -> tuple[Ints, pl.Series]:
    """Codes of the rows and the distinct values they stand for (null is a value)."""
    if series.dtype.is_float():
        series = series.fill_nan(None)
    if series.dtype.is_integer() and series.null_count() == 0 and len(series):
        numbers = series.to_numpy()
        low, high = int(numbers.min()), int(numbers.max())
        if high - low < max(1024, len(numbers)):
            offsets = numbers.astype(np.int64) - low
            present = np.flatnonzero(np.bincount(offsets))
            codes = np.zeros(high - low + 1, dtype=np.int64)
            codes[present] = np.arange(len(present))
            return codes[offsets], pl.Series(present + low)
    if series.dtype != pl.String:
        series = as_text(series)
    values = series.unique(maintain_order=False).sort()
    known = values.drop_nulls()
    coded = series.cast(pl.Enum(known)).to_physical().cast(pl.Int64)
    if values.null_count():
        return coded.fill_null(len(known)).to_numpy(), known.extend(
            pl.Series([None], dtype=pl.String)
        )
    return coded.to_numpy(), known


def _encode_column(
    series: pl.Series, *, hierarchy: Hierarchy, name: str
) -> tuple[Column, Ints]:
    codes, unique = factorize(series)
    values = as_text(unique).to_list()
    rows = [hierarchy.row_of(value) for value in values]
    in_hierarchy = [row is not None for row in rows]
    unknown = [
        code
        for code, (row, value) in enumerate(zip(rows, values, strict=True))
        if row is None and value != hierarchy.root
    ]
    if unknown:
        at = np.flatnonzero(np.isin(codes, unknown))
        raise AnonymizeError(
            f"Column {name}, row {int(at[0]) + 1}: the value has no place in the "
            f"hierarchy ({len(unknown)} such values in {len(at)} rows)."
        )
    suppressed = (hierarchy.root,) * (hierarchy.height + 1)
    paths = [suppressed if row is None else hierarchy.levels[row] for row in rows]
    leaves_under: list[dict[str, int]] = [{} for _ in range(hierarchy.height + 1)]
    for path in hierarchy.levels:
        for level, label in enumerate(path):
            leaves_under[level][label] = leaves_under[level].get(label, 0) + 1
    maps, sizes, labels, shares = [], [], [], []
    total = len(hierarchy.levels)
    for level in range(hierarchy.height + 1):
        order: dict[str, int] = {}
        mapping = [order.setdefault(path[level], len(order)) for path in paths]
        maps.append(np.array(mapping, dtype=np.int64))
        sizes.append(max(len(order), 1))
        labels.append(tuple(order))
        shares.append(
            np.array(
                [
                    leaves_under[level][path[level]] / total if known else 1.0
                    for path, known in zip(paths, in_hierarchy, strict=True)
                ]
            )
        )
    column = Column(
        name=name,
        hierarchy=hierarchy,
        maps=tuple(maps),
        sizes=tuple(sizes),
        labels=tuple(labels),
        shares=tuple(shares),
    )
    return column, codes


def _distinct(
    codes: Sequence[Ints],
    *,
    sizes: Sequence[int],
    counted: Bools | None,
    among: Bools | None,
) -> tuple[list[Ints], Ints, Ints]:
    """Distinct combinations, how many rows of them count, and of how many in all."""
    keys, radices = pack(codes, sizes=sizes)
    if counted is None:
        keys.sort()
        unique, rows = sorted_counts(keys)
        return unpack(unique, radices=radices), rows, rows
    unique, inverse = np.unique(keys, return_inverse=True)
    size = len(unique)
    inner = np.bincount(inverse[counted], minlength=size)
    outer = np.bincount(inverse if among is None else inverse[among], minlength=size)
    present = (inner > 0) | (outer > 0)
    return (
        unpack(unique[present], radices=radices),
        inner[present],
        outer[present],
    )


def pack(codes: Sequence[Ints], *, sizes: Sequence[int]) -> tuple[Ints, list[int]]:
    """Mixed-radix keys. Raises AnonymizeError past 63 bits of combinations."""
    space = 1
    for size in sizes:
        space *= int(size)
    if space >= 2**63:
        raise AnonymizeError(
            "The columns have too many distinct values together; generalize one "
            "before, or leave one out."
        )
    keys = np.zeros(len(codes[0]) if codes else 0, dtype=np.int64)
    for code, size in zip(codes, sizes, strict=True):
        keys *= size
        keys += code
    return keys, list(sizes)


def unpack(keys: Ints, *, radices: Sequence[int]) -> list[Ints]:
    """The codes that `pack` was given."""
    codes: list[Ints] = []
    for size in reversed(radices):
        keys, code = np.divmod(keys, size)
        codes.append(code)
    return codes[::-1]


def sorted_counts(keys: Ints) -> tuple[Ints, Ints]:
    """Distinct values of a sorted array and how often each occurs."""
    if not len(keys):
        return keys, np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[starts], np.diff(np.append(starts, len(keys)))
