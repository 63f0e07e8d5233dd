"""The hub's processes on a port, folder and database of the run's own.

    with running(services=True, folder=folder) as stack:
        stack.require(workers=2)
        job = stack.client.post("steps/", {...})["job"]

Everything that was started is ended with its children, whatever happened.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import requests
from celery import Celery

from privacyhub import processes
from privacyhub.api.client import Client
from tests.faults.history import History
from tests.faults.servers import Postgres, Redis, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
LEASE = 6  # seconds
READY_WITHIN = 120.0
GRACE = 40.0
SLOTS = 4  # children of a worker


class Process:
    """One that was started as the leader of its own process group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def children(self) -> list[int]:
        return _children(self.pid)

    def keepers(self) -> list[int]:
        """Its children that are keepers; a dead one that was not waited for is none."""
        return [pid for pid in self.children() if b"jobs.keeper" in _command(pid)]

    def kill(self) -> None:
        """SIGKILL to this process alone: its children are orphans."""
        self._process.kill()
        self._process.wait()

    def kill_all(self) -> None:
        """SIGKILL to it and everything that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        self._process.terminate()

    def ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class Stack:
    """Web and workers as they run in production, and where to look at them."""

    def __init__(self, *, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.postgres: Postgres | None = None
        self.redis: Redis | None = None
        self.history = History(
            database=environment["DATABASE_URL"] or str(folder / "hub.sqlite3"),
            witness=folder / "witness",
        )
        self.workers: list[Process] = []
        self.ledgers: list[str] = []
        self._web: Process | None = None
        self._web_with: dict[str, str] = {}
        self._workers_with: dict[str, str] = {}
        self._port = free_port()
        self._started: list[Process] = []
        self._token = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def client(self) -> Client:
        return Client(self.address, token=self._token)

    @property
    def embedded(self) -> bool:
        return not self.environment["REDIS_URL"]

    def prepare(self, *, ledgers: int) -> None:
        told = json.loads(self.manage("prepare_faults", f"--ledgers={ledgers}"))
        self._token, self.ledgers = told["token"], told["ledgers"]

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def require(
        self,
        *,
        workers: int = 2,
        web_with: Mapping[str, str] | None = None,
        workers_with: Mapping[str, str] | None = None,
    ) -> None:
        """Pages that answer and so many workers, with these variables and no others.

        What runs so already is left alone.
        """
        web, fleet = dict(web_with or {}), dict(workers_with or {})
        if self._web is None or not self._web.is_alive or self._web_with != web:
            self.stop_web()
            self._web_with = web
            command = processes.web(address=f"127.0.0.1:{self._port}")
            self._web = self._start("web", command, web)
        if self._workers_with != fleet:
            self.stop_workers()
            self._workers_with = fleet
        self.workers = [worker for worker in self.workers if worker.is_alive]
        while len(self.workers) < workers:
            self.start_worker()
        self._until_web_answers()
        self.until_ready(workers)

    def start_worker(self) -> Process:
        """One more worker, with its keeper."""
        name = f"--hostname=faults-{len(self._started)}@%h"
        command = [*processes.worker(concurrency=SLOTS), name]
        worker = self._start("worker", command, self._workers_with)
        self.workers.append(worker)
        return worker

    def stop_web(self) -> None:
        if self._web is not None:
            self._web.kill_all()
            self._web = None

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.kill_all()
        self.workers.clear()

    def until_ready(self, workers: int = 1) -> None:
        """Until that many workers of those that run have said that they live."""
        until = time.monotonic() + READY_WITHIN
        names = {f"{socket.gethostname()}:{worker.pid}" for worker in self.workers}
        while len(names & self.history.workers()) < workers:
            if time.monotonic() > until:
                raise TimeoutError("no worker was ready in time")
            time.sleep(0.1)

    def send(self, job: str, *, times: int) -> None:
        """The message of a job, that often: the broker delivers more than once."""
        app = Celery(broker=self.environment["REDIS_URL"] or "filesystem://")
        folder = self.folder / "broker"
        app.conf.broker_transport_options = (
            {
                "data_folder_in": str(folder / "messages"),
                "data_folder_out": str(folder / "messages"),
                "control_folder": str(folder / "control"),
            }
            if self.embedded
            else {"global_keyprefix": self.environment["FAULTS_PREFIX"]}
        )
        for _ in range(times):
            app.send_task("jobs.run", args=[job, "data"], queue="data")
        app.close()

    def is_ours(self, pid: int) -> bool:
        """Whether a process was started by a worker of this run."""
        try:
            return os.getpgid(pid) in {process.pid for process in self._started}
        except ProcessLookupError:
            return False

    def end(self) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
            process.kill_all()

    def _start(self, name: str, command: list[str], more: dict[str, str]) -> Process:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=self.environment | more,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(Process(process))
        return self._started[-1]

    def _until_web_answers(self) -> None:
        until = time.monotonic() + READY_WITHIN
        while time.monotonic() < until:
            with suppress(requests.RequestException):
                if requests.get(f"{self.address}/healthz", timeout=5).ok:
                    return
            time.sleep(0.1)
        raise TimeoutError("the pages did not answer in time")


@contextmanager
def running(
    *,
    folder: Path,
    services: bool,
    database_url: str = "",
    redis_url: str = "",
    ledgers: int = 1,
) -> Iterator[Stack]:
    """A prepared hub without processes yet.

    services: PostgreSQL and Redis, else SQLite and a folder. They are the run's own,
    unless URLs name others: then with a database and queues of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    postgres = redis = None
    own = ""
    try:
        if services and not database_url:
            postgres = Postgres(folder.with_name(f"{folder.name}-postgres"))
            postgres.create()
        elif services:
            own = _own_database(database_url)
        if services and not redis_url:
            redis = Redis(folder / "redis")
            redis.start()
        environment = _environment(
            folder,
            database=postgres.url if postgres else own,
            broker=redis.url if redis else redis_url,
        )
        stack = Stack(folder=folder, environment=environment)
        stack.postgres, stack.redis = postgres, redis
        try:
            stack.prepare(ledgers=ledgers)
            yield stack
        finally:
            stack.end()
            stack.history.close()
    finally:
        if own:
            _drop_database(database_url, own)
        if redis:
            redis.stop()
        if postgres:
            postgres.stop()
            shutil.rmtree(folder.with_name(f"{folder.name}-postgres"))


def _environment(folder: Path, *, database: str, broker: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.faults.hub.settings",
        "PRIVACYHUB_VAR": str(folder),
        "PRIVACYHUB_JOB_LEASE": str(LEASE),
        "PRIVACYHUB_JOB_REAP": "1",
        "DATABASE_URL": database,
        "REDIS_URL": broker,
        "FAULTS_PREFIX": f"faults-{secrets.token_hex(4)}-",
        "PYTHONUNBUFFERED": "1",
    }


def _children(pid: int) -> list[int]:
    """Children that any thread of a process has started."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in listed.read_text().split()]
    return found


def _command(pid: int) -> bytes:
    """Empty of a process that has died."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _own_database(url: str) -> str:
    name = f"privacyhub_faults_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _drop_database(url: str, own: str) -> None:
    name = urlsplit(own).path.lstrip("/")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
