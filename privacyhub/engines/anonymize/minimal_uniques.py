"""Minimal unique sets: which few columns already single a row out, as SUDA2 asks.

A set of columns is a minimal unique of a row when the row is alone on it and on no part
of it (Manning, Haglin and Keane, 2008). Counting level by level, as here, costs one
"group by and count" a set of columns; sets in which every row that is still unique
already has a smaller unique are never counted. A cell that shows `*` was suppressed: it
makes no row unique.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import factorial

import numpy as np
import polars as pl

from .errors import AnonymizeError
from .hierarchies import ROOT
from .keys import Bools, Floats, Ints
from .rows import factorize

MAX_SETS = 50_000


@dataclass(frozen=True)
class MinimalUniques:
    """`rows_by_set`: columns and the rows whose minimal unique they are, most first.

    `rows_by_size[n]`: minimal uniques of n columns; `column_share`: the part of all
    minimal uniques that a column takes part in; `scores`: SUDA's score of each row,
    which grows with the number of its minimal uniques and with how small they are.
    """

    rows_by_set: tuple[tuple[tuple[str, ...], int], ...]
    rows_by_size: dict[int, int]
    column_share: dict[str, float]
    scores: Floats = field(repr=False)

    @property
    def special_rows(self) -> int:
        """Rows with at least one minimal unique."""
        return int((self.scores > 0).sum())


def minimal_uniques(
    frame: pl.DataFrame,
    columns: Sequence[str],
    *,
    largest: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> MinimalUniques:
    """All minimal unique sets of at most `largest` columns.

    `progress` is called with (sets looked at, sets); what it raises stops the search.

    The score of a minimal unique of m of n columns is the product of (n - i) for i
    from m to `largest` less 1, over the same for m = 1: the share of larger sets that
    it makes unique (Elliot et al., 2002).
    """
    for name in columns:
        if name not in frame.columns:
            raise AnonymizeError(f"Column {name} is missing.")
    if not columns or largest < 1:
        raise AnonymizeError("Name columns, and a largest set of at least 1 column.")
    n, largest = len(columns), min(largest, len(columns))
    sets = sum(
        factorial(n) // (factorial(m) * factorial(n - m)) for m in range(1, largest + 1)
    )
    if sets > MAX_SETS:
        raise AnonymizeError(
            f"{sets} sets of columns are too many; lower the largest set."
        )
    codes, hidden = {}, {}
    for name in columns:
        codes[name], values = factorize(frame[name])
        hidden[name] = _suppressed(codes[name], values)
    rows = frame.height
    unique: dict[tuple[str, ...], Bools] = {}
    found: list[tuple[tuple[str, ...], int]] = []
    by_size: dict[int, int] = {}
    scores = np.zeros(rows)
    takes_part = dict.fromkeys(columns, 0)
    looked_at = 0
    for size in range(1, largest + 1):
        weight = _weight(size, columns=n, largest=largest)
        for chosen in combinations(columns, size):
            if progress is not None:
                progress(looked_at, sets)
            looked_at += 1
            before = np.zeros(rows, dtype=bool)
            for part in combinations(chosen, size - 1):
                if part in unique:
                    before |= unique[part]
            if before.all():
                unique[chosen] = before
                continue
            alone = _alone([codes[name] for name in chosen])
            for name in chosen:
                alone &= ~hidden[name]
            alone |= before
            unique[chosen] = alone
            new = alone & ~before
            count = int(new.sum())
            if count:
                found.append((chosen, count))
                by_size[size] = by_size.get(size, 0) + count
                scores += np.where(new, weight, 0.0)
                for name in chosen:
                    takes_part[name] += count
        # Smaller sets than the last size are not asked for any more.
        unique = {key: rows for key, rows in unique.items() if len(key) == size}
    total = sum(by_size.values())
    return MinimalUniques(
        rows_by_set=tuple(sorted(found, key=lambda item: -item[1])),
        rows_by_size=by_size,
        column_share={
            name: count / total if total else 0.0 for name, count in takes_part.items()
        },
        scores=scores,
    )


def _suppressed(codes: Ints, values: pl.Series) -> Bools:
    """Cells that show `*`."""
    place = (values == ROOT).arg_max() if values.dtype == pl.String else None
    hidden: Bools = np.zeros(len(codes), dtype=bool)
    if place is not None and values[place] == ROOT:
        hidden = codes == place
    return hidden


def _alone(codes: Sequence[Ints]) -> Bools:
    """Rows that no other row equals."""
    keys = codes[0].astype(np.int64)
    for code in codes[1:]:
        # Codes are made dense again, so that products never overflow.
        keys = np.unique(keys * (int(code.max()) + 1) + code, return_inverse=True)[1]
    alone: Bools = np.bincount(keys)[keys] == 1
    return alone


def _weight(size: int, *, columns: int, largest: int) -> float:
    def product(start: int) -> float:
        return float(np.prod([columns - i for i in range(start, largest)] or [1]))

    return product(size) / product(1)
