"""Re-identification risk from the sizes of equivalence classes.

Prosecutor: the attacker knows that the person is in the table. Journalist: knows only
that the person is in the population that the table was taken from. Marketer: wants to
re-identify many at once. Without a population table the last two are estimated with
the table as its own population, which overstates them. Suppressed rows are in no class
and count in no average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from .errors import AnonymizeError
from .hierarchies import ROOT, as_text
from .keys import Ints, dense_keys
from .rows import factorize

DEFAULT_THRESHOLD = 0.2


@dataclass(frozen=True)
class Attacker:
    """`highest` and `average` re-identification risk, and rows above the threshold."""

    highest: float
    average: float
    rows_at_risk: int


@dataclass(frozen=True)
class Risk:
    """Risk of a table. `histogram`: (class size, number of classes), by size."""

    rows: int
    suppressed: int
    classes: int
    smallest_class: int
    largest_class: int
    average_class: float
    unique_rows: int
    threshold: float
    prosecutor: Attacker
    journalist: Attacker
    marketer: float
    histogram: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class JointRisk:
    """What several releases of the same rows give away together.

    `smallest`: the fewest rows that share their class in every release; `k`: the
    smallest class of each release alone; `rows_below[i]`: rows whose joint class is
    smaller than `k[i]`; `suppressed_in_all`: rows that no release shows.
    """

    rows: int
    smallest: int
    classes: int
    k: tuple[int, ...]
    rows_below: tuple[int, ...]
    suppressed_in_all: int
    histogram: tuple[tuple[int, int], ...]


def from_sizes(
    sizes: Ints,
    *,
    population: Ints | None = None,
    suppressed: int = 0,
    threshold: float = DEFAULT_THRESHOLD,
) -> Risk:
    """Risk from class sizes; `population` are the sizes of the same classes there."""
    if not 0 < threshold <= 1:
        raise AnonymizeError("The risk threshold must be above 0 and at most 1.")
    population = sizes if population is None else population
    present = sizes > 0
    sizes, population = sizes[present], population[present]
    rows = int(sizes.sum())
    if not rows:
        none = Attacker(highest=0.0, average=0.0, rows_at_risk=0)
        return Risk(
            rows=0,
            suppressed=suppressed,
            classes=0,
            smallest_class=0,
            largest_class=0,
            average_class=0.0,
            unique_rows=0,
            threshold=threshold,
            prosecutor=none,
            journalist=none,
            marketer=0.0,
            histogram=(),
        )
    return Risk(
        rows=rows,
        suppressed=suppressed,
        classes=len(sizes),
        smallest_class=int(sizes.min()),
        largest_class=int(sizes.max()),
        average_class=rows / len(sizes),
        unique_rows=int((sizes == 1).sum()),
        threshold=threshold,
        prosecutor=_attacker(sizes, of=sizes, threshold=threshold),
        journalist=_attacker(sizes, of=population, threshold=threshold),
        marketer=float((sizes / population).sum() / rows),
        histogram=_histogram(sizes),
    )


def measure(
    frame: pl.DataFrame,
    columns: Sequence[str],
    *,
    threshold: float = DEFAULT_THRESHOLD,
    population: pl.DataFrame | None = None,
) -> Risk:
    """Risk of a table when the attacker knows these columns.

    A row that shows `*` in all of them is suppressed: it is not a class of its own.
    `population` is the larger table with the same columns, for the journalist.
    """
    keys = _keys(frame, columns)
    shown = keys.filter(~_hidden(keys))
    counts = shown.group_by(columns).len()
    larger = None
    if population is not None:
        everyone = _keys(population, columns).group_by(columns).len("population")
        counts = counts.join(everyone, on=list(columns), how="left")
        larger = counts["population"].fill_null(0).to_numpy().astype(np.int64)
    sizes = counts["len"].to_numpy().astype(np.int64)
    if larger is not None and bool((larger < sizes).any()):
        raise AnonymizeError("The population lacks rows of the table.")
    return from_sizes(
        sizes,
        population=larger,
        suppressed=frame.height - shown.height,
        threshold=threshold,
    )


def joint_k(releases: Sequence[pl.DataFrame], *, row: str = "row") -> JointRisk:
    """The joint risk of releases that show the same rows.

    Each release holds the column `row`, which names the row of the common root, and
    its own quasi-identifiers. Rows share a joint class when they share their class in
    every release. The suppressed rows of a release are one class, as are the rows that
    it lacks: an attacker who knows a person's values can tell that much. Rows that no
    release shows are counted and left out.

    Two tables of k = 5 can meet in one row:

    >>> a = pl.DataFrame({"row": range(10), "x": ["a"] * 5 + ["b"] * 5})
    >>> b = pl.DataFrame({"row": range(10), "y": ["c"] * 4 + ["d"] * 5 + ["c"]})
    >>> joint_k([a, b]).smallest
    1
    """
    if not releases:
        raise AnonymizeError("Joint risk needs at least one release.")
    joint: pl.DataFrame | None = None
    k = []
    for number, release in enumerate(releases):
        keyed, smallest = _classes_of(release, row=row, name=f"class_{number}")
        k.append(smallest)
        joint = (
            keyed
            if joint is None
            else joint.join(keyed, on=row, how="full", coalesce=True)
        )
    assert joint is not None  # noqa: S101 - there is at least one release
    names = [f"class_{number}" for number in range(len(releases))]
    hidden = pl.all_horizontal(
        (pl.col(name).is_null() | (pl.col(name) == -1)) for name in names
    )
    shown = joint.filter(~hidden)
    sizes = (
        shown.group_by([pl.col(name).fill_null(-2) for name in names])
        .len()["len"]
        .to_numpy()
        .astype(np.int64)
    )
    return JointRisk(
        rows=shown.height,
        smallest=int(sizes.min(initial=shown.height)),
        classes=len(sizes),
        k=tuple(k),
        rows_below=tuple(int(sizes[sizes < limit].sum()) for limit in k),
        suppressed_in_all=joint.height - shown.height,
        histogram=_histogram(sizes),
    )


def _classes_of(
    release: pl.DataFrame, *, row: str, name: str
) -> tuple[pl.DataFrame, int]:
    """The class of each row of a release, -1 if suppressed, and its smallest class."""
    if row not in release.columns:
        raise AnonymizeError(f"A release lacks the column {row}.")
    if release[row].is_duplicated().any():
        raise AnonymizeError(f"Column {row} names a row twice in a release.")
    columns = [c for c in release.columns if c != row]
    if not columns:
        raise AnonymizeError("A release has no quasi-identifier.")
    classes = _numbered([release[c] for c in columns])
    sizes = np.unique(classes[classes >= 0], return_counts=True)[1]
    keyed = pl.DataFrame({row: release[row], name: classes})
    return keyed, int(sizes.min()) if len(sizes) else 0


def _numbered(columns: Sequence[pl.Series]) -> Ints:
    """A number for each row that its equals share; -1 where all columns show `*`.

    Rows are compared by codes: as strings a long table would fill the memory.
    """
    hidden = np.ones(len(columns[0]), dtype=bool)
    codes, sizes = [], []
    for column in columns:
        of_rows, values = factorize(column)
        place: dict[str, int] = {}
        texts = as_text(values).to_list()
        table = [place.setdefault(text, len(place)) for text in texts]
        codes.append(np.array(table, dtype=np.min_scalar_type(len(place)))[of_rows])
        sizes.append(max(len(place), 1))
        hidden &= codes[-1] == place.get(ROOT, -1)
    numbers = dense_keys(codes, sizes=sizes)
    return np.where(hidden, -1, numbers)


def _keys(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    if not columns:
        raise AnonymizeError("Name at least one quasi-identifier.")
    for name in columns:
        if name not in frame.columns:
            raise AnonymizeError(f"Column {name} is missing.")
    return pl.DataFrame({name: as_text(frame[name]) for name in columns})


def _hidden(keys: pl.DataFrame) -> pl.Series:
    """Rows that show `*` everywhere."""
    return keys.select(hidden=pl.all_horizontal(pl.all() == ROOT))["hidden"]


def _attacker(sizes: Ints, *, of: Ints, threshold: float) -> Attacker:
    rows = int(sizes.sum())
    risks = 1.0 / of
    return Attacker(
        highest=float(risks.max()),
        average=float((sizes * risks).sum() / rows),
        rows_at_risk=int(sizes[risks > threshold + 1e-12].sum()),
    )


def _histogram(sizes: Ints) -> tuple[tuple[int, int], ...]:
    values, counts = np.unique(sizes, return_counts=True)
    return tuple(zip(values.tolist(), counts.tolist(), strict=True))
