"""How far columns, alone and together, tell rows apart.

Distinction and separation after Motwani and Xu, "Efficient algorithms for masking and
finding quasi-identifiers" (VLDB workshop 2007), as ARX prints them. Every figure comes
from one "group by and count". A missing value is a value here: two rows that both lack
it look alike. A row that shows `*` in all of the columns was suppressed and is left
out. The figures read private rows: they are for stewards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import polars as pl

SUPPRESSED = "*"


@dataclass(frozen=True, kw_only=True)
class Distinctness:
    """How far a set of columns tells rows apart."""

    columns: tuple[str, ...]
    distinction: float
    """Distinct rows over rows, in [0, 1]."""
    separation: float
    """Share of the pairs of rows that differ, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Uniqueness:
    """The classes of rows that look alike on a set of columns, by size."""

    columns: tuple[str, ...]
    rows: int
    classes: int
    unique_rows: int
    smallest_class: int
    """The k that the rows have as they stand."""
    size_counts: tuple[tuple[int, int], ...]
    """(class size, number of such classes), by size."""

    @property
    def unique_share(self) -> float:
        """Share of rows that no other row looks like."""
        return self.unique_rows / self.rows if self.rows else 0.0

    @property
    def average_class(self) -> float:
        return self.rows / self.classes if self.classes else 0.0

    def rows_below(self, k: int) -> int:
        """Rows in classes smaller than `k`: what k-anonymity would have to change."""
        return sum(size * count for size, count in self.size_counts if size < k)


def uniqueness(frame: pl.DataFrame, columns: Sequence[str]) -> Uniqueness:
    """Class sizes over `columns`; without columns all rows look alike."""
    sizes = _class_sizes(frame, columns)
    counted = sizes.value_counts().sort(sizes.name)
    pairs = tuple((int(size), int(count)) for size, count in counted.iter_rows())
    return Uniqueness(
        columns=tuple(columns),
        rows=int(sizes.sum()),
        classes=len(sizes),
        unique_rows=sum(count for size, count in pairs if size == 1),
        smallest_class=pairs[0][0] if pairs else 0,
        size_counts=pairs,
    )


def distinction_and_separation(
    frame: pl.DataFrame, columns: Sequence[str], *, largest: int = 1
) -> list[Distinctness]:
    """Every set of 1 to `largest` of the `columns`, single columns first.

    >>> frame = pl.DataFrame({"a": [1, 1, 2, 2], "b": [1, 2, 3, 4]})
    >>> [one.separation for one in distinction_and_separation(frame, ["a", "b"])]
    [0.6666666666666667, 1.0]
    """
    return [
        _distinctness(frame, chosen)
        for chosen in _subsets(columns, largest=min(largest, len(columns)))
    ]


def _subsets(columns: Sequence[str], *, largest: int) -> Iterable[tuple[str, ...]]:
    for size in range(1, largest + 1):
        yield from combinations(columns, size)


def _distinctness(frame: pl.DataFrame, columns: tuple[str, ...]) -> Distinctness:
    sizes = _class_sizes(frame, columns).cast(pl.Float64)
    rows = int(sizes.sum())
    pairs = rows * (rows - 1) / 2
    alike = float((sizes * (sizes - 1) / 2).sum())
    return Distinctness(
        columns=columns,
        distinction=len(sizes) / rows if rows else 0.0,
        separation=1 - alike / pairs if pairs else 0.0,
    )


def _class_sizes(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    if not columns or not frame.height:
        sizes = [frame.height] if frame.height else []
        return pl.Series("len", sizes, dtype=pl.UInt32)
    shown = frame.lazy().select(columns)
    if all(_can_be_suppressed(frame.schema[name]) for name in columns):
        hidden = [pl.col(name).eq_missing(pl.lit(SUPPRESSED)) for name in columns]
        shown = shown.filter(~pl.all_horizontal(hidden))
    grouped = shown.group_by(columns).agg(pl.len())
    return grouped.select("len").collect()["len"]


def _can_be_suppressed(kind: pl.DataType) -> bool:
    """Whether a column of this type can hold `*`."""
    if isinstance(kind, pl.Enum):
        return SUPPRESSED in kind.categories
    return isinstance(kind, pl.String | pl.Categorical)
