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

from .errors import AnonymizeError
from .halves import KEPT_BYTES, Half
from .hierarchies import Hierarchy, as_text
from .joint import JointCounts
from .keys import (
    DENSE_CELLS,
    Bools,
    Floats,
    Ints,
    count_by,
    group,
    matched,
    number_by_place,
    places,
)
from .rows import Coded, FrameRows, Rows, factorize, with_root

# Keys below this are numbered by their places in memory that is kept.
KEPT_CELLS = 2**22


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
    def levels(self) -> range:
        return range(len(self.maps))

    @property
    def leaves(self) -> int:
        return len(self.hierarchy.leaves)

    @cached_property
    def share_table(self) -> Floats:
        """shares as one table, shape (levels, values)."""
        return np.vstack(self.shares)

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
    """A sensitive column: codes of the entries, of the rows, and the codes' labels."""

    name: str
    codes: Ints
    row_codes: Ints = field(repr=False)
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

    def halves(self, levels: Sequence[int]) -> tuple[Half, Half]:
        """The halves of the columns whose numbers make an entry's key at a node."""
        middle = self._middle
        left = self._half(0, tuple(levels[:middle]))
        return left, self._half(middle, tuple(levels[middle:]))

    @property
    def _middle(self) -> int:
        return (len(self.columns) + 1) // 2

    def row_ids(self, levels: Sequence[int]) -> Ints | None:
        """Each row's key at a node; None where it has to be found by its entry.

        Of no meaning for rows that were suppressed before.
        """
        left, right = self.halves(levels)
        if left.keys is None or right.keys is None:
            return None
        codes, sizes = [], []
        for column, level, values in zip(
            self.columns, levels, self.row_codes, strict=True
        ):
            codes.append(column.maps[level][values] if level else values)
            sizes.append(column.sizes[level])
        middle = self._middle
        ids = left.ids_of(codes[:middle], sizes=sizes[:middle]) * right.count
        if codes[middle:]:
            ids += right.ids_of(codes[middle:], sizes=sizes[middle:])
        return ids

    @cached_property
    def entry_of_row(self) -> Ints:
        """For each row an entry with the same quasi-identifiers, shape (rows,).

        Of no meaning for rows that were suppressed before.
        """
        sizes = [column.sizes[0] for column in self.columns]
        return matched(self.row_codes, self.codes, sizes=sizes)

    @property
    def anonymized_rows(self) -> Ints:
        """The numbers of the rows that are anonymized, ascending."""
        use: Bools = np.ones(self.rows, dtype=bool)
        if self.subset is not None:
            use &= self.subset
        if self.hidden is not None:
            use &= ~self.hidden
        return np.flatnonzero(use)

    def _half(self, first: int, levels: tuple[int, ...]) -> Half:
        known = self._kept.get((first, levels))
        if known is None:
            columns = range(first, first + len(levels))
            pairs = list(zip(columns, levels, strict=True))
            known = Half(
                [self._lifted(j, level) for j, level in pairs],
                sizes=[self.columns[j].sizes[level] for j, level in pairs],
                entries=len(self.weights),
            )
            if (len(self._kept) + 1) * known.ids.nbytes <= KEPT_BYTES:
                self._kept[first, levels] = known
        return known

    def _lifted(self, column: int, level: int) -> Ints:
        """The codes of the entries at a level, in few bytes."""
        known = self._lifts.get((column, level))
        if known is None:
            kind = np.min_scalar_type(self.columns[column].sizes[level])
            known = self.columns[column].maps[level].astype(kind)[self.codes[column]]
            self._lifts[column, level] = known
        return known

    @cached_property
    def joint(self) -> JointCounts:
        """Counts of the rows of entries, for leaf counts and sums of shares."""
        return JointCounts(
            codes=self.codes,
            share_tables=[column.share_table for column in self.columns],
            weights=self.float_weights,
        )

    def numbered(self, keys: Ints, *, space: int) -> tuple[Ints, Ints]:
        """An entry of each class, and each entry's class, by the keys of all."""
        if space <= len(self._places):
            return number_by_place(keys, places=self._places)
        order, starts, _ = group(keys, space=space)
        return order[starts], places(order, starts)

    @cached_property
    def _places(self) -> Ints:
        """Memory for `number_by_place`; what is not used of it is not handed out."""
        cells = max(KEPT_CELLS, DENSE_CELLS * len(self.weights))
        return np.empty(cells, dtype=np.int32)

    @cached_property
    def float_weights(self) -> Floats:
        return self.weights.astype(np.float64)

    @cached_property
    def _kept(self) -> dict[tuple[int, tuple[int, ...]], Half]:
        return {}

    @cached_property
    def _lifts(self) -> dict[tuple[int, int], Ints]:
        return {}

    @cached_property
    def float_population(self) -> Floats:
        """`population` as np.bincount wants its weights."""
        return self.population.astype(np.float64)

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


def encode(
    table: pl.DataFrame | Rows,
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
    rows = table if isinstance(table, Rows) else FrameRows(table)
    coded = _coded(rows, [*quasi_identifiers, *sensitive], population=population)
    for j, hierarchy in enumerate(quasi_identifiers.values()):
        coded[j] = with_root(coded[j], root=hierarchy.root)
    columns = [
        _encode_column(column, hierarchy=hierarchy, name=name)
        for (name, hierarchy), column in zip(
            quasi_identifiers.items(), coded, strict=False
        )
    ]
    count = len(columns)
    codes = [column.codes for column in coded]
    labels = [tuple(as_text(column.values).to_list()) for column in coded[count:]]
    row_codes = [values[: rows.height] for values in codes]
    sizes = [c.sizes[0] for c in columns] + [len(names) for names in labels]
    hidden = _hidden_rows(columns, codes[:count])
    counted: Bools | None = subset
    among: Bools | None = None
    if population is not None:
        place = np.arange(len(codes[0]))
        counted, among = place < rows.height, place >= rows.height
    if hidden is not None:
        counted = ~hidden if counted is None else counted & ~hidden
        among = ~hidden if among is None else among & ~hidden
    grouped = rows.group(codes, sizes=sizes, counted=counted, among=among)
    entries = grouped.codes
    return Problem(
        columns=tuple(columns),
        codes=tuple(entries[:count]),
        weights=grouped.rows,
        population=grouped.population,
        sensitive={
            name: Sensitive(name=name, codes=own, row_codes=of_rows, labels=names)
            for name, own, of_rows, names in zip(
                sensitive, entries[count:], row_codes[count:], labels, strict=True
            )
        },
        rows=rows.height,
        row_codes=tuple(row_codes[:count]),
        subset=subset,
        hidden=None if hidden is None else hidden[: rows.height],
        separate=counted is not None,
    )


def _coded(
    rows: Rows, columns: Sequence[str], *, population: pl.DataFrame | None
) -> list[Coded]:
    """The columns' codes; those of a population's rows follow the table's."""
    names = list(dict.fromkeys(columns))
    coded = rows.code(names)
    if population is not None:
        coded = [
            _followed(column, population, name)
            for name, column in zip(names, coded, strict=True)
        ]
    return [coded[names.index(name)] for name in columns]


def _followed(column: Coded, population: pl.DataFrame, name: str) -> Coded:
    own = as_text(column.values).gather(column.codes)
    if name not in population.columns:  # sensitive columns are the table's alone
        missing = np.zeros(population.height, dtype=column.codes.dtype)
        return Coded(np.concatenate([column.codes, missing]), column.values)
    codes, values = factorize(pl.concat([own, as_text(population[name])]))
    return Coded(codes, values)


def _hidden_rows(columns: Sequence[Column], codes: Sequence[Ints]) -> Bools | None:
    """Rows that were suppressed before: the root in every quasi-identifier.

    They are in no class, so that they do not pass for a class of their own. Columns
    whose hierarchy has one label cannot tell; alone, their cells count as values.
    """
    hidden: Bools | None = None
    for column, values in zip(columns, codes, strict=True):
        root = column.hierarchy.root
        if column.hierarchy.has_one_label:
            continue
        if root not in column.labels[0]:
            return None
        here = values == column.labels[0].index(root)
        hidden = here if hidden is None else hidden & here
    return hidden if hidden is not None and hidden.any() else None


def rows_suppressed_before(
    frame: pl.DataFrame, quasi_identifiers: Mapping[str, Hierarchy]
) -> Bools:
    """The rows of a table that `encode` takes for suppressed, shape (rows,)."""
    telling = {n: h for n, h in quasi_identifiers.items() if not h.has_one_label}
    hidden: Bools = np.full(frame.height, bool(telling))
    for name, hierarchy in telling.items():
        hidden &= as_text(frame[name]).is_in(list(hierarchy.suppressed)).to_numpy()
        if not hidden.any():
            break
    return hidden


def _encode_column(coded: Coded, *, hierarchy: Hierarchy, name: str) -> Column:
    codes = coded.codes
    values = as_text(coded.values).to_list()
    found = [hierarchy.path(value) for value in values]
    unknown = [code for code, path in enumerate(found) if path is None]
    if unknown:
        at = np.flatnonzero(np.isin(codes, unknown))
        raise AnonymizeError(
            f"Column {name}, row {int(at[0]) + 1}: the value has no place in the "
            f"hierarchy ({len(unknown)} such values in {len(at)} rows)."
        )
    paths = [path for path in found if path is not None]
    leaves_under: list[dict[str, int]] = [{} for _ in range(hierarchy.height + 1)]
    for path in hierarchy.leaves:
        for level, label in enumerate(path):
            leaves_under[level][label] = leaves_under[level].get(label, 0) + 1
    maps, sizes, labels, shares = [], [], [], []
    total = len(hierarchy.leaves)
    for level in range(hierarchy.height + 1):
        order: dict[str, int] = {}
        mapping = [order.setdefault(path[level], len(order)) for path in paths]
        maps.append(np.array(mapping, dtype=np.int64))
        sizes.append(max(len(order), 1))
        labels.append(tuple(order))
        shares.append(
            np.array(
                [
                    1.0
                    if path[0] == hierarchy.root
                    else leaves_under[level][path[level]] / total
                    for path in paths
                ]
            )
        )
    return Column(
        name=name,
        hierarchy=hierarchy,
        maps=tuple(maps),
        sizes=tuple(sizes),
        labels=tuple(labels),
        shares=tuple(shares),
    )
