"""The re-identification risk of a version: for its steward's screen, on the record.

What an attacker who knows some columns could do, which columns tell people apart, and
what the Safe Harbor list names. A release is set beside the version it was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import comb
from typing import Any

import numpy as np
from django.db import transaction

from privacyhub.anonymization.services import require_manager
from privacyhub.anonymization.sizes import binned
from privacyhub.datasets import tables
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version, VersionKind
from privacyhub.datasets.services import require_open
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.uniqueness import (
    DEFAULT_POPULATION,
    ESTIMATORS,
    estimate,
)
from privacyhub.engines.identifiers.combinations import distinction_and_separation
from privacyhub.governance import audit, ledger

MOST_COLUMNS = 15
MOST_CELLS = 60_000_000
"""Rows times sets of columns that are counted while somebody waits."""
LARGEST_SET = 3
SHOWN_SETS = 20


@dataclass(frozen=True)
class Asked:
    """What is taken to be known: columns, a threshold, how many people there are."""

    columns: list[str]
    threshold: float = an.risk.DEFAULT_THRESHOLD
    population: int = DEFAULT_POPULATION


@dataclass(frozen=True)
class Estimate:
    """The part of the population that is unique, by one estimator; None: no figure."""

    estimator: str
    share: float | None


@dataclass(frozen=True)
class RiskReport:
    """`before` is None but for a release; `sizes` are binned class sizes."""

    asked: Asked
    risk: an.risk.Risk
    sizes: list[dict[str, Any]]
    estimates: list[Estimate]
    before: an.risk.Risk | None
    sizes_before: list[dict[str, Any]] | None


@dataclass(frozen=True)
class FinderReport:
    """Which columns tell people apart.

    `sets`: distinction and separation, single columns first. `uniques`: minimal unique
    sets with their rows, most first. `largest`: the largest set that was looked at.
    """

    columns: list[str]
    rows: int
    largest: int
    sets: list[dict[str, Any]]
    uniques: list[dict[str, Any]]
    special_rows: int
    by_size: dict[int, int]
    column_share: dict[str, float] = field(default_factory=dict)


def asked_of(
    version: Version,
    *,
    columns: Sequence[str] = (),
    threshold: float = an.risk.DEFAULT_THRESHOLD,
    population: int = DEFAULT_POPULATION,
) -> Asked:
    """The question, with the quasi-identifiers where no columns are named."""
    roles = dict(version.columns.order_by("position").values_list("name", "role"))
    chosen = [name for name in dict.fromkeys(columns) if name]
    for name in chosen:
        if name not in roles:
            raise DataError(
                f"This version has no column “{name}”.", code="no_column", column=name
            )
    if not chosen:
        chosen = [n for n, role in roles.items() if role == Role.QUASI_IDENTIFIER]
    if not chosen:
        raise DataError("Choose at least one column.", code="none")
    if not 0 < threshold <= 1:
        raise DataError(
            "The threshold must be above 0 and at most 1.", code="out_of_range"
        )
    if population < version.rows:
        raise DataError(
            f"The population must have at least the table's {version.rows:,} rows.",
            code="population_too_small",
        )
    return Asked(columns=chosen, threshold=threshold, population=population)


def measure(*, version: Version, asked: Asked, by: Any) -> RiskReport:
    """The risk to attackers who know the asked columns."""
    source = _source(version)
    _note(version=version, by=by, part="risk")
    frame = tables.load(version, columns=asked.columns)
    risk = an.risk.measure(frame, asked.columns, threshold=asked.threshold)
    before = None
    if source is not None and _has(source, asked.columns):
        old = tables.load(source, columns=asked.columns)
        before = an.risk.measure(old, asked.columns, threshold=asked.threshold)
    return RiskReport(
        asked=asked,
        risk=risk,
        sizes=binned(risk.histogram),
        estimates=_estimates(risk, population=asked.population),
        before=before,
        sizes_before=None if before is None else binned(before.histogram),
    )


def find_quasi_identifiers(
    *, version: Version, columns: Sequence[str], by: Any
) -> FinderReport:
    """Distinction, separation and minimal unique sets of columns.

    Sets are as large as time allows for the rows; without columns, all that are no
    identifiers are looked at.
    """
    roles = dict(version.columns.order_by("position").values_list("name", "role"))
    chosen = [name for name in dict.fromkeys(columns) if name in roles]
    chosen = chosen or [n for n, role in roles.items() if role != Role.IDENTIFIER]
    if len(chosen) > MOST_COLUMNS:
        raise DataError(
            f"At most {MOST_COLUMNS} columns can be looked at together; choose some.",
            code="too_many_columns",
        )
    if not chosen:
        raise DataError("Choose at least one column.", code="none")
    largest = _largest(rows=version.rows, columns=len(chosen))
    _note(version=version, by=by, part="quasi-identifiers")
    frame = tables.load(version, columns=chosen)
    uniques = an.minimal_uniques(frame, chosen, largest=largest)
    sets = distinction_and_separation(frame, chosen, largest=min(largest, 2))
    singles, pairs = sets[: len(chosen)], sets[len(chosen) :]
    ranked = sorted(pairs, key=lambda one: -one.distinction)[:SHOWN_SETS]
    return FinderReport(
        columns=chosen,
        rows=frame.height,
        largest=largest,
        sets=[
            asdict(one)
            for one in [*sorted(singles, key=lambda one: -one.distinction), *ranked]
        ],
        uniques=[
            {"columns": list(names), "rows": rows}
            for names, rows in uniques.rows_by_set[:SHOWN_SETS]
        ],
        special_rows=uniques.special_rows,
        by_size=uniques.rows_by_size,
        column_share=uniques.column_share,
    )


def safe_harbor(*, version: Version, by: Any) -> list[dict[str, Any]]:
    """What of HIPAA's eighteen identifiers the version seems to hold."""
    _note(version=version, by=by, part="Safe Harbor")
    names = list(version.columns.order_by("position").values_list("name", flat=True))
    found: list[dict[str, Any]] = []
    for name in names:
        findings = an.check_safe_harbor(tables.load(version, columns=[name]))
        found += [asdict(finding) for finding in findings]
    return found


def _largest(*, rows: int, columns: int) -> int:
    """The largest sets that fit into the time of a page, at least single columns."""
    largest = 1
    for size in range(2, min(LARGEST_SET, columns) + 1):
        sets = sum(comb(columns, m) for m in range(1, size + 1))
        if sets * max(rows, 1) <= MOST_CELLS:
            largest = size
    return largest


def _source(version: Version) -> Version | None:
    """The version that a release was made of, if it can still be read."""
    if version.kind != VersionKind.ANONYMIZED:
        return None
    parent = version.parents.first()
    return parent if parent is not None and parent.erased_at is None else None


def _has(version: Version, columns: Sequence[str]) -> bool:
    known = version.columns.filter(name__in=columns).count()
    return known == len(columns)


def _estimates(risk: an.risk.Risk, *, population: int) -> list[Estimate]:
    sizes = np.repeat(
        np.array([size for size, _ in risk.histogram], dtype=np.int64),
        [count for _, count in risk.histogram],
    )
    found = []
    for estimator in ESTIMATORS:
        share: float | None = None
        if len(sizes):
            with np.errstate(all="ignore"):
                share = estimate(sizes, population=population, estimator=estimator)
        usable = share is not None and np.isfinite(share)
        found.append(Estimate(estimator, share if usable else None))
    return found


def _note(*, version: Version, by: Any, part: str) -> None:
    require_manager(version=version, by=by)
    require_open(version)
    with transaction.atomic():
        ledger.note_steward_read(
            ledgers=version.ledgers.all(), by=by, purpose=f"risk report: {part}"
        )
        audit.record(actor=by, action="version.risk_report", target=version, part=part)
