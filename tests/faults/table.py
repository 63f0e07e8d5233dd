"""The table of a run, its bounds, and the file that it leaves under var/bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import beta

from tests.benchmarks.results import case, write
from tests.faults.invariants import Breach, Violation

COLUMNS = (Breach.LOST, Breach.DOUBLED, Breach.OVERCHARGED)
CONFIDENCE = 0.95


@dataclass
class Row:
    """What came of one fault: how often it was injected, and what was broken."""

    fault: str
    title: str
    trials: int = 0
    violations: list[Violation] = field(default_factory=list)
    seconds: float = 0.0
    jobs: int = 0

    def count(self, breach: Breach) -> int:
        """Of how many jobs (or other things) the promise was broken."""
        return len({v.about for v in self.violations if v.breach == breach})

    @property
    def failures(self) -> int:
        return len({v.about for v in self.violations})


def upper_bound(*, failures: int, trials: int) -> float:
    """Clopper and Pearson's one-sided bound on the rate of failure, at 95%.

    >>> round(upper_bound(failures=0, trials=300), 4)  # about 3/n
    0.0099
    """
    if trials == 0 or failures >= trials:
        return 1.0
    return float(beta.ppf(CONFIDENCE, failures + 1, trials - failures))


def in_lines(rows: Sequence[Row]) -> list[str]:
    """The table for a terminal, and below it each violation in its own words."""
    lines = [
        f"{'fault':<6} {'what is done':<50} {'trials':>6} {'lost':>5} {'doubled':>8} "
        f"{'overcharged':>12} {'95% upper bound':>16}"
    ]
    lines += [_line(row) for row in [*rows, total(rows)]]
    for row in rows:
        lines += [f"{row.fault}: {violation}" for violation in row.violations]
    return lines


def total(rows: Sequence[Row]) -> Row:
    whole = Row("all", "", trials=sum(row.trials for row in rows))
    whole.violations = [violation for row in rows for violation in row.violations]
    whole.jobs = sum(row.jobs for row in rows)
    whole.seconds = sum(row.seconds for row in rows)
    return whole


def write_file(rows: Sequence[Row]) -> Path:
    """`var/bench/faults.json`: what was broken over all, and by fault."""
    whole = total(rows)
    cases: list[dict[str, Any]] = [
        case("trials", value=whole.trials, unit="faults injected")
    ]
    for column in COLUMNS:
        count = whole.count(column)
        cases.append(_case(str(column), count, whole, unit="jobs"))
    cases += [_case(row.fault, row.failures, row, unit="failures") for row in rows]
    return write("faults", cases)


def _case(name: str, value: int, row: Row, *, unit: str) -> dict[str, Any]:
    bound = upper_bound(failures=value, trials=row.trials)
    told = f"0 in {row.trials} trials (95% upper bound {bound:.2%})"
    return case(name, value=value, unit=unit, target=told, met=value == 0)


def _line(row: Row) -> str:
    bound = upper_bound(failures=row.failures, trials=row.trials)
    counts = [row.count(column) for column in COLUMNS]
    return (
        f"{row.fault:<6} {row.title:<50} {row.trials:>6} {counts[0]:>5} "
        f"{counts[1]:>8} {counts[2]:>12} {bound:>16.2%}"
    )
