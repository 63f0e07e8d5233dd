"""Value hierarchies: a table of strings with one row for each value.

The first column is the value, each further column is a level that is more general
than the one before, and the last column is the same in every row: the root. The file
format is ARX's: separated by semicolons, no header.

    >>> h = Hierarchy.from_rows([["1", "1-2", "*"], ["2", "1-2", "*"], ["3", "3", "*"]])
    >>> h.height, h.generalize("2", level=1)
    (2, '1-2')

A missing value is a value of its own, written as the empty string, and needs a row
like any other. A cell that already holds the root, or `*`, is known to every hierarchy:
it was suppressed before, and stays so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from . import hierarchy_builders as builders
from .errors import AnonymizeError

MISSING = builders.MISSING
ROOT = builders.ROOT


@dataclass(frozen=True)
class HierarchyProblem:
    """A value of a column that its hierarchy does not place.

    `value` is for the steward's own screen; `message` names it by row only.
    """

    value: str
    rows: int
    first_row: int
    message: str


@dataclass(frozen=True)
class Hierarchy:
    """`levels[i]` is the path of value i: the value, level 1, ..., the root.

    Raises AnonymizeError when rows differ in length, a value occurs twice, a label
    has two different parents (not monotone), or the last level is not one label.
    """

    levels: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        _validate(self.levels)

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[str]]) -> Hierarchy:
        return cls(tuple(tuple(row) for row in rows))

    @classmethod
    def read_csv(cls, path: str | Path, *, separator: str = ";") -> Hierarchy:
        """Read a file in ARX's format. Raises AnonymizeError where it cannot be."""
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise AnonymizeError("The hierarchy file cannot be read.") from error
        return cls.from_csv(text, separator=separator)

    @classmethod
    def from_csv(cls, text: str, *, separator: str = ";") -> Hierarchy:
        """Read text in ARX's format; the opposite of `to_csv`."""
        # A carriage return within quotes belongs to the value.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        return cls.from_rows(row for row in reader if row)

    def to_csv(self, *, separator: str = ";") -> str:
        """The format that `read_csv` and `from_csv` take."""
        out = io.StringIO(newline="")
        returns = any("\r" in cell for row in self.levels for cell in row)
        writer = csv.writer(
            out,
            delimiter=separator,
            lineterminator="\n",
            quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,
        )
        writer.writerows(self.levels)
        return out.getvalue()

    @property
    def height(self) -> int:
        """The number of the most general level; the values themselves are level 0."""
        return len(self.levels[0]) - 1

    @property
    def root(self) -> str:
        return self.levels[0][-1]

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(row[0] for row in self.levels)

    @cached_property
    def leaves(self) -> tuple[tuple[str, ...], ...]:
        """The paths of the values that say something: without one for the root.

        A hierarchy of a single label has no other, and keeps it.
        """
        if self.has_one_label:
            return self.levels
        told = tuple(row for row in self.levels if row[0] not in self.suppressed)
        return told or self.levels

    @cached_property
    def suppressed(self) -> frozenset[str]:
        """What a suppressed cell shows: the root, and `*` whatever the root is."""
        return frozenset((self.root, ROOT))

    @cached_property
    def has_one_label(self) -> bool:
        """Whether a suppressed cell looks like every other."""
        return all(label == self.root for row in self.levels for label in row)

    def path(self, value: str) -> tuple[str, ...] | None:
        """A value's label at each level; None where it has no place.

        A cell that was suppressed before is the root at each level.
        """
        if value in self.suppressed:
            return (self.root,) * len(self.levels[0])
        row = self.row_of(value)
        return None if row is None else self.levels[row]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {row[0]: index for index, row in enumerate(self.levels)}

    def row_of(self, value: str) -> int | None:
        """The row that places a value; None if there is none."""
        return self._row_of.get(value)

    def generalize(self, value: str, *, level: int) -> str:
        """The label of a value at a level. Raises AnonymizeError if it has none."""
        path = self.path(value)
        if path is None:
            raise AnonymizeError("The value is not in the hierarchy.")
        return path[level]

    def labels(self, level: int) -> tuple[str, ...]:
        """The distinct labels of a level in the order of the rows."""
        return tuple(dict.fromkeys(row[level] for row in self.levels))

    def check(self, values: pl.Series | Iterable[object]) -> list[HierarchyProblem]:
        """The values that have no place here, most frequent first, with row counts.

        `values` holds one entry for each row of the table; rows count from 1.
        """
        series = values if isinstance(values, pl.Series) else pl.Series(list(values))
        frame = pl.DataFrame({"value": as_text(series)}).with_row_index("row", offset=1)
        groups = (
            frame.group_by("value")
            .agg(pl.len().alias("rows"), pl.col("row").min().alias("first"))
            .sort(["rows", "first"], descending=[True, False])
        )
        return [
            HierarchyProblem(
                value=value,
                rows=rows,
                first_row=first,
                message=(
                    f"The value in row {first} has no place in the hierarchy "
                    f"({rows} row{'s' if rows != 1 else ''})."
                ),
            )
            for value, rows, first in groups.iter_rows()
            if value not in self._row_of and value not in self.suppressed
        ]

    # Edits return a new hierarchy, validated again.

    def with_value(self, value: str, *, path: Sequence[str]) -> Hierarchy:
        """Place a value; `path` is its labels from level 1 to the root."""
        kept = [row for row in self.levels if row[0] != value]
        return Hierarchy.from_rows([*kept, (value, *path)])

    def with_missing_values(self, values: Iterable[str]) -> Hierarchy:
        """Place each new value directly under the root: itself, then the root."""
        known = {*self._row_of, *self.suppressed}
        new = [v for v in dict.fromkeys(values) if v not in known]
        rows = [(v, *[self.root] * self.height) for v in new]
        return Hierarchy.from_rows([*self.levels, *rows])

    def without_value(self, value: str) -> Hierarchy:
        return Hierarchy.from_rows(row for row in self.levels if row[0] != value)

    def with_label(self, *, level: int, old: str, new: str) -> Hierarchy:
        """Rename a label of a level from 1 on; an existing name merges the two."""
        self._check_level(level)
        return Hierarchy.from_rows(
            tuple(
                new if at == level and label == old else label
                for at, label in enumerate(row)
            )
            for row in self.levels
        )

    def without_level(self, level: int) -> Hierarchy:
        self._check_level(level)
        return Hierarchy.from_rows(
            row[:level] + row[level + 1 :] for row in self.levels
        )

    def with_level(self, level: int, *, labels: Mapping[str, str]) -> Hierarchy:
        """Insert a level before `level`; `labels` maps the labels below it."""
        self._check_level(level)
        return Hierarchy.from_rows(
            row[:level] + (labels.get(row[level - 1], row[level - 1]),) + row[level:]
            for row in self.levels
        )

    def _check_level(self, level: int) -> None:
        if not 1 <= level <= self.height:
            raise AnonymizeError(f"The level must be from 1 to {self.height}.")

    # Builders; their tables come from hierarchy_builders, where they are explained.

    @classmethod
    def suppress(cls, values: Iterable[object]) -> Hierarchy:
        """Two levels: the value and the root."""
        return cls.from_rows(builders.suppress(_distinct(values)))

    @classmethod
    def intervals(
        cls,
        values: Iterable[object],
        *,
        widths: Sequence[float],
        origin: float = 0.0,
        bottom: float | None = None,
        top: float | None = None,
        snap: float = 0.0,
    ) -> Hierarchy:
        rows = builders.intervals(
            _distinct(values),
            widths=widths,
            origin=origin,
            bottom=bottom,
            top=top,
            snap=snap,
        )
        return cls.from_rows(rows)

    @classmethod
    def dates(
        cls,
        values: Iterable[object],
        *,
        units: Sequence[str] = ("month", "year", "decade"),
    ) -> Hierarchy:
        return cls.from_rows(builders.dates(_distinct(values), units=units))

    @classmethod
    def masking(
        cls,
        values: Iterable[object],
        *,
        side: str = "right",
        character: str = "*",
        levels: int | None = None,
    ) -> Hierarchy:
        rows = builders.masking(
            _distinct(values), side=side, character=character, levels=levels
        )
        return cls.from_rows(rows)

    @classmethod
    def zip_codes(cls, values: Iterable[object]) -> Hierarchy:
        return cls.from_rows(builders.zip_codes(_distinct(values)))

    @classmethod
    def ordered_groups(
        cls, order: Iterable[object], *, sizes: Sequence[int] = (2, 2)
    ) -> Hierarchy:
        rows = builders.ordered_groups(_distinct(order), sizes=sizes)
        return cls.from_rows(rows)

    @classmethod
    def by_frequency(cls, values: Iterable[object], *, levels: int = 3) -> Hierarchy:
        return cls.from_rows(builders.by_frequency(_texts(values), levels=levels))

    @classmethod
    def tree(cls, branches: builders.Tree) -> Hierarchy:
        return cls.from_rows(builders.tree(branches))

    @classmethod
    def automatic(cls, series: pl.Series, *, name: str) -> Hierarchy:
        """A hierarchy by the column's type, content and name."""
        return cls.from_rows(builders.automatic(as_text(series), name=name))


def as_text(series: pl.Series) -> pl.Series:
    """A column as the engine reads it: strings, a missing value as the empty one."""
    if series.dtype.is_float():
        series = series.fill_nan(None)
    if series.dtype == pl.Boolean:
        series = series.replace_strict(
            [True, False], ["true", "false"], return_dtype=pl.String
        )
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        raise AnonymizeError(f"Column {series.name}: the type cannot be anonymized.")
    return series.cast(pl.String).fill_null(MISSING)


def _texts(values: Iterable[object]) -> Iterable[object]:
    """A column's values as the engine reads them; any others are written by `str`."""
    return as_text(values) if isinstance(values, pl.Series) else values


def _distinct(values: Iterable[object]) -> list[str]:
    return builders.distinct(_texts(values))


def _validate(levels: tuple[tuple[str, ...], ...]) -> None:
    if not levels or not levels[0]:
        raise AnonymizeError("The hierarchy is empty.")
    width = len(levels[0])
    seen: dict[str, int] = {}
    parents: list[dict[str, str]] = [{} for _ in range(width)]
    root = levels[0][-1]
    for number, row in enumerate(levels, start=1):
        if len(row) != width:
            raise AnonymizeError(
                f"Row {number} has {len(row)} levels, row 1 has {width}."
            )
        if row[0] in seen:
            raise AnonymizeError(
                f"Rows {seen[row[0]]} and {number} place the same value."
            )
        seen[row[0]] = number
        for level in range(1, width - 1):
            parent = parents[level].setdefault(row[level], row[level + 1])
            if parent != row[level + 1]:
                raise AnonymizeError(
                    f"Row {number}, level {level}: the same label stands under "
                    f"another label of level {level + 1} in an earlier row."
                )
        if row[-1] != root:
            raise AnonymizeError(
                f"Row {number}: the last level must be one label for all rows."
            )
