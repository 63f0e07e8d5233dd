"""Ten million rows through the hub, in a worker that may have 2 GB of memory.

`python -m tests.benchmarks.large_table` starts pages and one worker with one child,
whose data are limited to 2 GiB (`PRIVACYHUB_JOB_MEMORY_MB`), uploads Adult with nine
columns and ten million rows as Parquet, and has it anonymized over REST: k = 5, 2%
suppression, ARX's hierarchies. It writes var/bench/large_table.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from privacyhub import processes
from privacyhub.api.client import Client
from tests.benchmarks.anonymize import DATA, MILLION, adult, perturbed
from tests.benchmarks.queue import started, until_ready
from tests.benchmarks.results import ROOT, case, write
from tests.faults.servers import free_port

ROWS = 10 * MILLION
MEMORY = 2 * 1024**3  # bytes
LOOK_EVERY = 0.1  # seconds
PATIENCE = 1800.0


def make(path: Path, *, rows: int = ROWS) -> None:
    """Adult, again and again; one cell in twenty is another row's."""
    rng = np.random.default_rng(1)
    writer: Any = None
    for _ in range(rows // MILLION):
        table = perturbed(adult(), rows=MILLION, rng=rng).to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


@dataclass
class Peak:
    """The most memory that a process and its children have had, each, in bytes."""

    _most: dict[int, int] = field(default_factory=dict)
    _done: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def take(self) -> int:
        """The most since the last call, of a child of the worker."""
        most, self._most = max(self._most.values(), default=0), {}
        return most

    def _watch(self) -> None:
        while not self._done.wait(LOOK_EVERY):
            for pid in _pool_children():
                with suppress(OSError, StopIteration):
                    used = _resident(pid)
                    self._most[pid] = max(self._most.get(pid, 0), used)


def _pool_children() -> list[int]:
    """Processes of our workers that run jobs: their parents are workers too."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            above = Path(f"/proc/{parent}/cmdline").read_bytes()
            if b"large-table@" in command and b"large-table@" in above:
                found.append(int(folder.name))
    return found


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


class Hub:
    """Pages and a worker over a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.address = f"127.0.0.1:{free_port()}"
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "privacyhub.settings",
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "PRIVACYHUB_VAR": str(folder / "hub"),
            "PRIVACYHUB_JOB_MEMORY_MB": str(MEMORY // 2**20),
        }

    @contextmanager
    def running(self) -> Iterator[Client]:
        self._manage("migrate", "--verbosity=0")
        self._manage("add_user", "steward", "--role=steward")
        token = self._manage("add_token", "steward").split()[-1]
        worker = [*processes.worker(concurrency=1), "--hostname=large-table@%h"]
        with ExitStack() as running:
            for command in (processes.web(address=self.address), worker):
                running.enter_context(started(command, self._environment, self.log))
            until_ready(f"http://{self.address}", log=self.log)
            yield Client(f"http://{self.address}", token=token)

    def _manage(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout


def upload(client: Client, path: Path) -> str:
    with path.open("rb") as stream:
        accepted = client.call(
            "POST",
            "datasets/",
            files={"file": ("adult.parquet", stream)},
            data={"name": "Ten million rows"},
        )
    done = client.wait(accepted.json(), within=PATIENCE)
    return str(done["result"]["version"])


def anonymize(client: Client, version: str) -> dict[str, Any]:
    chosen = {}
    for name in adult().columns:
        with (DATA / f"adult_hierarchy_{name}.csv").open("rb") as stream:
            made = client.call(
                "POST", "hierarchies/", files={"file": stream}, data={"name": name}
            )
        chosen[name] = {"hierarchy": made.json()["id"]}
    roles = {name: {"role": "quasi_identifier"} for name in chosen}
    client.patch(f"versions/{version}/columns/", roles)
    policy = {
        "quasi_identifiers": chosen,
        "models": [{"name": "k_anonymity", "k": 5}],
        "suppression_limit": 0.02,
    }
    accepted = client.post("anonymizations/", {"version": version, "policy": policy})
    done = client.wait(accepted, within=PATIENCE)
    return dict(client.get(f"anonymizations/{done['result']['run']}/"))


def measure(folder: Path) -> list[dict[str, Any]]:
    path = folder / "adult.parquet"
    make(path)
    hub = Hub(folder)
    peak = Peak()
    with hub.running() as client, peak.watched():
        began = time.monotonic()
        version = upload(client, path)
        taken_in, ingest = time.monotonic() - began, peak.take()
        began = time.monotonic()
        run = anonymize(client, version)
        took, most = time.monotonic() - began, peak.take()
    told = f"{run['result']['suppressed']:,} of {ROWS:,} rows suppressed"
    limit = "below 2 GB, with the memory of the worker's child limited to that"
    return [
        case(
            "memory-10m",
            value=most,
            unit=f"bytes, the worker's child at its most, {told}",
            target=limit,
            met=most < MEMORY,
        ),
        case(
            "anonymize-10m", value=round(took, 1), unit="seconds from POST to its end"
        ),
        case("ingest-memory-10m", value=ingest, unit="bytes, the same at the upload"),
        case(
            "ingest-10m", value=round(taken_in, 1), unit="seconds from POST to its end"
        ),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="privacyhub-bench-") as name:
        write("large_table", measure(Path(name)))


if __name__ == "__main__":
    main()
