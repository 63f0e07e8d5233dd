"""The re-identification risk of a version: for its steward's screen, on the record.

What an attacker who knows some columns could do, which columns tell people apart, and
what the Safe Harbor list names. A release is set beside the version it was made of.

Each part is a question with its answer; `risk_report_runs.ask` has it answered at once
or, for a large table, by a job.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import comb
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from privacyhub.anonymization.models import RiskReportRun
from privacyhub.anonymization.sizes import binned
from privacyhub.datasets import tables
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version, VersionKind
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.uniqueness import (
    DEFAULT_POPULATION,
    ESTIMATORS,
    estimate,
)
from privacyhub.engines.identifiers.combinations import distinction_and_separation

MOST_COLUMNS = 15
MOST_CELLS = 60_000_000
"""Rows times sets of columns that are counted while somebody waits."""
MOST_CELLS_OF_A_JOB = 4_000_000_000
LARGEST_SET = 3
SHOWN_SETS = 20

Part = RiskReportRun.Part
Answer = TypeVar("Answer")
Progress = Callable[[int, int], None]
"""Called with (steps done, steps); what it raises stops the count."""


class Question(ABC, Generic[Answer]):
    """A part of the report, with what it asks for."""

    part: ClassVar[RiskReportRun.Part]

    def to_json(self) -> dict[str, Any]:
        """The question as a run keeps it."""
        return asdict(self)  # type: ignore[call-overload]

    @abstractmethod
    def answered(self, version: Version, *, progress: Progress | None = None) -> Answer:
        """Read the version and count. Without `progress` somebody waits for it."""

    @abstractmethod
    def kept(self, answer: Answer) -> Any:
        """The answer as JSON."""

    @abstractmethod
    def restored(self, kept: Any) -> Answer:
        """The answer from its JSON."""


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
class Asked(Question[RiskReport]):
    """What is taken to be known: columns, a threshold, how many people there are."""

    columns: list[str]
    threshold: float = an.risk.DEFAULT_THRESHOLD
    population: int = DEFAULT_POPULATION

    part = Part.RISK

    def answered(
        self, version: Version, *, progress: Progress | None = None
    ) -> RiskReport:
        """The risk to attackers who know the columns."""
        tell = progress or _silent
        source = source_of(version)
        beside = source is not None and _has(source, self.columns)
        tell(0, 1 + beside)
        risk = self._risk(version)
        before = None
        if source is not None and beside:
            tell(1, 2)
            before = self._risk(source)
        return RiskReport(
            asked=self,
            risk=risk,
            sizes=binned(risk.histogram),
            estimates=_estimates(risk, population=self.population),
            before=before,
            sizes_before=None if before is None else binned(before.histogram),
        )

    def _risk(self, version: Version) -> an.risk.Risk:
        frame = tables.load(version, columns=self.columns)
        return an.risk.measure(frame, self.columns, threshold=self.threshold)

    def kept(self, answer: RiskReport) -> Any:
        return asdict(answer)

    def restored(self, kept: Any) -> RiskReport:
        before = kept["before"]
        return RiskReport(
            asked=self,
            risk=_restored(kept["risk"]),
            sizes=kept["sizes"],
            estimates=[Estimate(**one) for one in kept["estimates"]],
            before=None if before is None else _restored(before),
            sizes_before=kept["sizes_before"],
        )


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


@dataclass(frozen=True)
class LookedAt(Question[FinderReport]):
    """The columns whose sets are looked at."""

    columns: list[str]

    part = Part.FINDER

    def answered(
        self, version: Version, *, progress: Progress | None = None
    ) -> FinderReport:
        """Distinction, separation and minimal unique sets of columns.

        Sets are as large as time allows for the rows.
        """
        chosen = self.columns
        cells = MOST_CELLS if progress is None else MOST_CELLS_OF_A_JOB
        largest = _largest(rows=version.rows, columns=len(chosen), cells=cells)
        frame = tables.load(version, columns=chosen)
        uniques = an.minimal_uniques(frame, chosen, largest=largest, progress=progress)
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

    def kept(self, answer: FinderReport) -> Any:
        return asdict(answer)

    def restored(self, kept: Any) -> FinderReport:
        sizes = {int(size): count for size, count in kept["by_size"].items()}
        return FinderReport(**kept | {"by_size": sizes})


Findings = list[dict[str, Any]]


@dataclass(frozen=True)
class SafeHarbor(Question[Findings]):
    """What of HIPAA's eighteen identifiers a version seems to hold."""

    part = Part.SAFE_HARBOR

    def answered(
        self, version: Version, *, progress: Progress | None = None
    ) -> Findings:
        tell = progress or _silent
        columns = version.columns.order_by("position").values_list("name", "role")
        roles = dict(columns)
        named = [name for name, role in roles.items() if role == Role.IDENTIFIER]
        found: Findings = []
        for done, name in enumerate(roles):
            tell(done, len(roles))
            findings = an.check_safe_harbor(
                tables.load(version, columns=[name]), identifiers=named
            )
            found += [asdict(finding) for finding in findings]
        return found

    def kept(self, answer: Findings) -> Any:
        return answer

    def restored(self, kept: Any) -> Findings:
        found: Findings = kept
        return found


def question_of(*, part: str, asked: Mapping[str, Any]) -> Question[Any]:
    """A question from the JSON that a run keeps."""
    kinds: dict[str, type[Question[Any]]] = {
        kind.part: kind for kind in (Asked, LookedAt, SafeHarbor)
    }
    return kinds[part](**asked)


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


def looked_at_of(version: Version, *, columns: Sequence[str]) -> LookedAt:
    """The question; without columns, all that are no identifiers are looked at."""
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
    return LookedAt(columns=chosen)


def source_of(version: Version) -> Version | None:
    """The version that a release was made of, if it can still be read."""
    if version.kind != VersionKind.ANONYMIZED:
        return None
    parent = version.parents.first()
    return parent if parent is not None and parent.erased_at is None else None


def _largest(*, rows: int, columns: int, cells: int) -> int:
    """The largest sets that fit into the cells, at least single columns."""
    largest = 1
    for size in range(2, min(LARGEST_SET, columns) + 1):
        sets = sum(comb(columns, m) for m in range(1, size + 1))
        if sets * max(rows, 1) <= cells:
            largest = size
    return largest


def _silent(done: int, total: int) -> None:
    """Nobody looks at the progress."""


def _restored(kept: Mapping[str, Any]) -> an.risk.Risk:
    attackers = ("prosecutor", "journalist")
    return an.risk.Risk(
        **{name: told for name, told in kept.items() if name not in attackers}
        | {name: an.risk.Attacker(**kept[name]) for name in attackers}
        | {"histogram": tuple((size, count) for size, count in kept["histogram"])}
    )


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
