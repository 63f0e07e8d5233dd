"""Speed and memory of anonymization on Adult, each case in its own process.

`python -m tests.benchmarks.anonymize` writes var/bench/anonymize.json. Seconds are the
best of some runs, from a table in memory to a solved `Result`: encoding and search,
the file's reading aside. `ratio` is to `np.bincount` of 30 million uint16, timed in the
same process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from privacyhub.engines import anonymize as an
from tests.benchmarks.results import ROOT, case, write

DATA = ROOT.parent / "shared" / "data" / "adult_arx"
REFERENCE = "np.bincount of 30 million uint16"
SENSITIVE = "occupation"
MILLION = 1_000_000
# Case: runs and target.
CASES: dict[str, tuple[int, str]] = {
    "k5-s0": (7, "at most 40 ms"),
    "k5-s0.02": (7, "at most 180 ms"),
    "k5-s0.05": (7, "at most 180 ms"),
    "k5-s1": (7, "at most 200 ms"),
    "k5-s0.02-1m": (3, "at most 300 ms"),
    "t-equal": (5, "at most 500 ms"),
    "t-hierarchical": (5, "at most 500 ms"),
    "local": (3, "at most 1,200 ms"),
    "memory-1m": (1, "below 350 MB"),
}
LIMITS = {
    "k5-s0": 0.04,
    "k5-s0.02": 0.18,
    "k5-s0.05": 0.18,
    "k5-s1": 0.2,
    "k5-s0.02-1m": 0.3,
    "t-equal": 0.5,
    "t-hierarchical": 0.5,
    "local": 1.2,
    "memory-1m": 350e6,
}


def adult() -> pl.DataFrame:
    return pl.read_csv(DATA / "adult.csv", separator=";", infer_schema=False)


def hierarchies() -> dict[str, an.Hierarchy]:
    names = adult().columns
    return {n: an.Hierarchy.read_csv(DATA / f"adult_hierarchy_{n}.csv") for n in names}


def perturbed(
    frame: pl.DataFrame, *, rows: int, rng: np.random.Generator
) -> pl.DataFrame:
    """The table repeated to so many rows; one cell in twenty is another row's."""
    own = np.resize(np.arange(frame.height), rows)
    columns = {}
    for name in frame.columns:
        other = rng.integers(0, frame.height, rows)
        columns[name] = frame[name].gather(
            np.where(rng.random(rows) < 0.05, other, own)
        )
    return pl.DataFrame(columns)


def solve(name: str) -> Callable[[], Any]:
    """A call that solves the case; what it needs is read here."""
    known = hierarchies()
    others = {n: h for n, h in known.items() if n != SENSITIVE}
    if name.startswith("k5"):
        frame = adult()
        if name.endswith("1m"):
            rng = np.random.default_rng(1)
            frame = perturbed(frame, rows=MILLION, rng=rng)
        limit = float(name.split("-")[1][1:])
        return lambda: an.anonymize(
            frame,
            quasi_identifiers=known,
            models=[an.KAnonymity(5)],
            suppression_limit=limit,
        )
    frame = adult()
    if name == "local":
        return lambda: an.recode_locally(
            frame,
            quasi_identifiers=known,
            models=[an.KAnonymity(5)],
            suppression_limit=0.02,
        )
    model: an.Model = (
        an.EqualTCloseness(SENSITIVE, 0.2)
        if name == "t-equal"
        else an.HierarchicalTCloseness(SENSITIVE, 0.2, known[SENSITIVE])
    )
    return lambda: an.anonymize(
        frame, quasi_identifiers=others, models=[model], suppression_limit=0.05
    )


def seconds(call: Callable[[], Any], *, runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def bincount_seconds() -> float:
    values = np.random.default_rng(0).integers(0, 2**16, 30_000_000, dtype=np.uint16)
    return seconds(lambda: np.bincount(values), runs=3)


def measure_memory() -> float:
    """Bytes that solving a million rows adds to a process that holds the table."""
    call = solve("k5-s0.02-1m")
    _reset_peak()
    before = _memory("VmRSS")
    call()
    return float(_memory("VmHWM") - before)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory(name: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(
        line
        for line in status.read_text(encoding="ascii").splitlines()
        if line.startswith(name)
    )
    return int(line.split()[1]) * 1024


def measure(name: str) -> dict[str, Any]:
    """One case, in this process."""
    runs, target = CASES[name]
    reference = bincount_seconds()
    if name == "memory-1m":
        value, unit, ratio = measure_memory(), "bytes", None
    else:
        value, unit = seconds(solve(name), runs=runs), "s"
        ratio = value / reference
    return case(
        name,
        value=value,
        unit=unit,
        ratio=ratio,
        to=None if ratio is None else REFERENCE,
        target=target,
        met=value <= LIMITS[name],
    )


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    cases = []
    for name in CASES:
        run = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.anonymize", name],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        cases.append(json.loads(run.stdout))
        print(json.dumps(cases[-1]), file=sys.stderr)
    write("anonymize", cases)


if __name__ == "__main__":
    main()
