"""Copies of the database while the hub runs: SQLite's backup API, or pg_dump."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

NAMES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}
_PAGES = 1_000  # copied at a time, so that a writer waits for no more than that
_TIMEOUT = 30.0  # seconds for SQLite's lock


class BackupError(Exception):
    """A backup that cannot be made or restored; `message` says why."""


def file_name() -> str:
    """What the copy of this hub's kind of database is called."""
    return NAMES[connection.vendor]


def dump(target: Path) -> None:
    """Write a consistent copy of the running database."""
    if connection.vendor == "sqlite":
        with (
            closing(sqlite3.connect(_sqlite_file(), timeout=_TIMEOUT)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy, pages=_PAGES)
            copy.execute("PRAGMA journal_mode=DELETE")
            _require_whole(copy)
        return
    _run("pg_dump", "--format=custom", "--no-owner", f"--file={target}", _database())


def load(source: Path) -> None:
    """Put a copy in the place of the whole database, in one transaction."""
    connection.close()
    if connection.vendor == "sqlite":
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as copy,
            closing(sqlite3.connect(_sqlite_file(), timeout=_TIMEOUT)) as target,
        ):
            _require_whole(copy)
            copy.backup(target)
            target.execute("PRAGMA journal_mode=WAL")
        return
    script = source.with_suffix(".sql")
    try:
        _run("pg_restore", "--no-owner", f"--file={script}", str(source))
        _run(
            "psql",
            *("--single-transaction", "--set=ON_ERROR_STOP=1", "--quiet"),
            "--command=DROP SCHEMA public CASCADE",
            "--command=CREATE SCHEMA public",
            f"--file={script}",
            f"--dbname={_database()}",
        )
    finally:
        script.unlink(missing_ok=True)


def _sqlite_file() -> str:
    return str(settings.DATABASES["default"]["NAME"])


def _require_whole(copy: sqlite3.Connection) -> None:
    (found,) = copy.execute("PRAGMA integrity_check").fetchone()
    if found != "ok":
        raise BackupError("The copy of the database is damaged.")


def _database() -> str:
    return str(connection.settings_dict["NAME"])


def _run(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs; the password goes by the environment."""
    found = shutil.which(program)
    if found is None:
        raise BackupError(
            f"{program} is not on this machine. Install PostgreSQL's client programs "
            "of the server's version, or copy the database with the tools of its host."
        )
    said: dict[str, Any] = connection.settings_dict
    named = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER"}
    named["PGPASSWORD"] = "PASSWORD"  # noqa: S105 - a setting's name
    environment = {
        **os.environ,
        **{name: str(said[key]) for name, key in named.items() if said[key]},
    }
    ran = subprocess.run(  # noqa: S603 - our own arguments
        [found, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BackupError(f"{program} failed: {last}")
