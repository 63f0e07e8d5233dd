"""How many jobs that do nothing, how soon they start, and what that costs over Celery.

`make bench NAME=queue`: web and two worker processes with one child each, on PostgreSQL
and Redis of the run's own and on the embedded default (SQLite, a folder). Beside them,
with the same broker and in the same run, two workers of a bare Celery. At the end, on
the same database, a page of the jobs board over 10,000 jobs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from privacyhub import processes
from tests.benchmarks.results import ROOT, case, write
from tests.faults.servers import Missing, Postgres, Redis, free_port

WORKERS = 2
PAUSE = 0.25  # seconds between two jobs of the light load
LIGHT = 60  # jobs
READY_WITHIN = 120.0
START_P95 = {"redis": 0.25, "embedded": 0.5}
OVERHEAD = 0.015
BOARD = 0.1
BARE = "bare Celery's delay"


@contextmanager
def services(folder: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL and Redis; what a hub and a bare Celery need to know of them."""
    postgres, redis = Postgres(folder / "postgres"), Redis(folder / "redis")
    try:
        postgres.create()
        redis.start()
        yield {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "BARE_BROKER": redis.url.replace("/0", "/1"),
        }
    finally:
        redis.stop()
        postgres.stop()


@contextmanager
def embedded(folder: Path) -> Iterator[dict[str, str]]:
    for name in ("messages", "control"):
        (folder / "bare" / name).mkdir(parents=True)
    bare = {"BARE_BROKER": "", "BARE_FOLDER": str(folder / "bare")}
    yield {"DATABASE_URL": "", "REDIS_URL": "", **bare}


@contextmanager
def started(
    command: list[str], environment: dict[str, str], log: Path
) -> Iterator[None]:
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def measure(folder: Path, more: dict[str, str]) -> dict[str, Any]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "privacyhub.settings",
        "PRIVACYHUB_VAR": str(folder / "hub"),
        "PRIVACYHUB_MAX_JOBS": "100000",
        "BARE_TOLD": str(folder / "told"),
        **more,
    }
    manage = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(manage, cwd=ROOT, env=environment, check=True)
    with ExitStack() as running:
        commands = [processes.web(address=f"127.0.0.1:{port}")]
        for number in range(WORKERS):
            hostname = f"--hostname=hub-{number}@%h"
            commands.append([*processes.worker(concurrency=1), hostname])
            commands.append(_bare_worker(number))
        for command in commands:
            running.enter_context(started(command, environment, folder / "log"))
        until_ready(address, log=folder / "log")
        told = _told("queue_rounds", address, environment=environment)
    return {**told, "board": _told("board", environment=environment)}


def _told(module: str, *words: str, environment: dict[str, str]) -> dict[str, Any]:
    """What a module beside this one prints at its end, as a process of the hub."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *words],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _bare_worker(number: int) -> list[str]:
    return [
        str(Path(sys.executable).parent / "celery"),
        "--app=tests.benchmarks.bare_celery",
        "worker",
        "--queues=bare",
        "--concurrency=1",
        f"--hostname=bare-{number}@%h",
        "--loglevel=WARNING",
        "--without-gossip",
        "--without-mingle",
    ]


def until_ready(address: str, *, log: Path) -> None:
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"the hub was not ready in time:\n{log.read_text()[-2000:]}")


def _overhead(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    """(seconds a job over bare Celery, seconds a job), the middle of the rounds.

    Where workers share many jobs, each one's overhead is divided among them, and hidden
    where it overlaps; one job at a time shows all of it, and no queueing.
    """
    over = statistics.median(ours - theirs for ours, theirs in rounds)
    return over, statistics.median(ours for ours, _ in rounds)


def cases(name: str, told: dict[str, Any]) -> list[dict[str, Any]]:
    hub, bare = told["light"]["hub"], told["light"]["bare"]
    load = f"seconds, one job every {PAUSE:g} s, {LIGHT} jobs"
    most = START_P95[name]
    at_once, alone = _overhead(told["rounds"]), _overhead(told["alone"])
    over, ours = max(at_once, alone)
    bound = OVERHEAD if name == "redis" else None
    board = told["board"]
    few, many = board["queries"]
    where = f"in the server, {'PostgreSQL' if name == 'redis' else 'SQLite'}"
    return [
        case(
            f"start-p95-{name}",
            value=round(hub["p95"], 4),
            unit=load,
            ratio=round(hub["p95"] / bare["p95"], 2),
            to=BARE,
            target=f"below {most:g} s",
            met=hub["p95"] < most,
        ),
        case(
            f"start-p50-{name}",
            value=round(hub["p50"], 4),
            unit=load,
            ratio=round(hub["p50"] / bare["p50"], 2),
            to=BARE,
        ),
        case(f"bare-start-p95-{name}", value=round(bare["p95"], 4), unit=load),
        case(
            f"throughput-{name}",
            value=round(told["rate"], 1),
            unit=f"jobs a second by REST, {WORKERS} workers",
            ratio=round(told["rate"] / told["bare_rate"], 3),
            to=BARE,
        ),
        case(
            f"bare-throughput-{name}",
            value=round(told["bare_rate"], 1),
            unit=f"tasks a second, {WORKERS} workers",
        ),
        case(
            f"overhead-{name}",
            value=round(over, 4),
            unit="seconds a job, submitted without HTTP, over bare Celery: the larger "
            f"of {at_once[0]:.4f} with {WORKERS} workers at many jobs and "
            f"{alone[0]:.4f} with one job at a time",
            ratio=round(ours / (ours - over), 2),
            to=BARE,
            target="" if bound is None else f"at most {bound:g} s",
            met=None if bound is None else over <= bound,
        ),
        case(
            "board-10000" if name == "redis" else f"board-10000-{name}",
            value=round(board["seconds"], 4),
            unit=f"seconds {where}, {many} queries ({few} over 100 jobs)",
            target=f"below {BOARD:g} s, as many queries for any number of jobs",
            met=board["seconds"] < BOARD and few == many,
        ),
    ]


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that everything that runs is ended


def main() -> None:
    signal.signal(signal.SIGTERM, _stop)
    found: list[dict[str, Any]] = []
    for name, place in (("redis", services), ("embedded", embedded)):
        folder = Path(tempfile.mkdtemp(prefix="queue-bench-"))
        folder.chmod(0o711)  # PostgreSQL runs as another user than root
        try:
            with place(folder) as more:
                found += cases(name, measure(folder, more))
        except Missing as error:
            print(f"{error} is not on this machine: no figures with {name}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    write("queue", found)


if __name__ == "__main__":
    main()
