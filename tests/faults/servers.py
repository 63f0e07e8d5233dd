"""PostgreSQL and Redis of the run's own: started, broken and started again.

Each has its own port and folder. Neither server runs as root, so PostgreSQL gets
another user's identity when the run is root's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psycopg
import redis

STARTS_WITHIN = 60.0  # seconds
DATABASE = "hub"
_held_ports: list[socket.socket] = []


class Missing(RuntimeError):
    """A server's program is not on this machine."""


def free_port() -> int:
    """A port for a server of this run: nobody else is given it while this run lasts."""
    held = socket.socket()
    # A server may listen where others are only bound, and asks for that as well.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held_ports.append(held)
    return int(held.getsockname()[1])


class Postgres:
    """A cluster in `folder`, which must be reachable for the user it runs as."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bin = _postgres_programs()
        self._user = _other_user() if os.geteuid() == 0 else None
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{DATABASE}"

    def create(self) -> None:
        """An empty cluster with one database, running."""
        self._folder.mkdir(parents=True)
        if self._user:
            shutil.chown(self._folder, self._user)
        command = [str(self._bin / "initdb"), "-D", str(self._folder / "data")]
        subprocess.run(
            [*command, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"],
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        self.start()
        with psycopg.connect(self._maintenance, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{DATABASE}"')

    def start(self) -> None:
        data = str(self._folder / "data")
        options = ["-h", "127.0.0.1", "-p", str(self._port), "-k", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", data, *options],
                user=self._user,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _until(self._answers, "PostgreSQL")

    def crash(self) -> None:
        """Immediate shutdown: sessions are cut off, the next start recovers."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        if self._process is not None:
            self._end(signal.SIGINT)

    def transactions(self) -> int:
        """How many of the hub's transactions are open now and have written."""
        with psycopg.connect(self._maintenance, autocommit=True) as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = %s AND backend_xid IS NOT NULL",
                [DATABASE],
            ).fetchone()
        return int(found[0]) if found else 0

    @property
    def _maintenance(self) -> str:
        return self.url.replace(f"/{DATABASE}", "/postgres")

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self._maintenance, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(STARTS_WITHIN)
        self._process = None


class Redis:
    """A broker that keeps nothing: each restart loses every message."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise Missing("redis-server")
        self._program = program
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        place = ["--port", str(self._port), "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [self._program, *place, "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        _until(self._answers, "Redis")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def flush(self) -> None:
        with self._client() as client:
            client.flushall()

    def _client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self._port)

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _postgres_programs() -> Path:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]),
    )
    if not found:
        raise Missing("initdb")
    return found[-1].parent


def _other_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _until(answers: object, name: str) -> None:
    assert callable(answers)
    until = time.monotonic() + STARTS_WITHIN
    while not answers():
        if time.monotonic() > until:
            raise TimeoutError(f"{name} did not start within {STARTS_WITHIN:.0f} s")
        time.sleep(0.05)
