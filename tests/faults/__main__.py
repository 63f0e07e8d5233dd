"""`python -m tests.faults`: the fault list against real processes, as a table.

Exit status 0 only if nothing was lost, doubled, overcharged or otherwise broken. The
same seed gives the same coins; when a process reaches which line is the machine's.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import FrameType

from tests.faults import cancels, deliveries, outages, resources, table, workers
from tests.faults.campaign import Campaign, Fault
from tests.faults.stack import running
from tests.faults.table import Row

FAULTS: dict[str, Fault] = {
    fault.id: fault
    for module in (workers, outages, deliveries, resources, cancels)
    for fault in module.FAULTS
}
IN_ORDER = sorted(FAULTS, key=lambda name: int(name[1:]))
LEDGERS = 8


def main() -> int:
    chosen = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="privacyhub-faults-"))
    folder.chmod(0o711)  # PostgreSQL runs as another user, below it
    names = [
        name
        for name in chosen.only or IN_ORDER
        if not (FAULTS[name].needs_services and chosen.embedded)
    ]
    rows: list[Row] = []
    with (
        suppress(KeyboardInterrupt),  # what was done until then is told
        running(
            folder=folder / "hub", services=not chosen.embedded, ledgers=LEDGERS
        ) as stack,
    ):
        campaign = Campaign(stack, seed=chosen.seed, short=chosen.short)
        for name in names:
            rows.append(campaign.run(FAULTS[name]))
            _tell(rows[-1])
    print("\n".join(table.in_lines(rows)))
    whole = len(rows) == len(names) and all(row.trials for row in rows)
    if chosen.write and whole:
        table.write_file(rows)
    if whole and not any(row.failures for row in rows):
        shutil.rmtree(folder)
        return 0
    print(f"logs are in {folder}", file=sys.stderr)
    return 1


def _tell(row: Row) -> None:
    told = f"{row.trials} trials, {row.jobs} jobs, {row.failures} failures"
    print(f"{row.fault}: {told}, {row.seconds:.0f} s", file=sys.stderr, flush=True)
    for violation in row.violations:
        print(f"  {violation}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=IN_ORDER, metavar="F")
    parser.add_argument("--short", action="store_true", help="few trials of each")
    parser.add_argument("--embedded", action="store_true", help="SQLite and a folder")
    parser.add_argument("--write", action="store_true", help="var/bench/faults.json")
    return parser.parse_args()


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
