"""A full disk is a clean failure wherever a job meets it, and leaves no half a file."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.db import OperationalError

from jobs import execution
from jobs.execution import Attempt
from jobs.models import Job
from jobs.outages import is_full
from privacyhub.datasets import storage, tables, uploads
from privacyhub.deployments import batches
from privacyhub.training import artefacts

LARGE = os.urandom(50_000)


def _caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def _sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("no word")
    error.sqlite_errorcode = code  # type: ignore[misc]
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Quota exceeded"), True),
        (OSError(errno.EFBIG, "File too large"), True),
        (_caused(ValueError(), OSError(errno.ENOSPC, "No space")), True),
        (_caused(OperationalError(), _sqlite(sqlite3.SQLITE_FULL)), True),
        (_caused(OperationalError(), _sqlite(sqlite3.SQLITE_BUSY)), False),
        (OSError(errno.EIO, "Input/output error"), False),
        (ValueError(), False),
    ],
)
def test_a_full_disk_is_told_from_a_mistake(error: Exception, expected: bool) -> None:
    assert is_full(error) is expected


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _seal_model() -> str:
    return artefacts.seal_bytes(LARGE, key=bytes(32))[0]


def _seal_answers() -> str:
    return batches._seal(pl.DataFrame({"x": [LARGE.hex()]}))[0]


def _seal_upload() -> str:
    return uploads.seal([LARGE[:20_000], LARGE], name="table.csv").stored_as


def _write_table() -> str:
    frame = pl.DataFrame({"x": [LARGE.hex()]})
    return tables.write(frame.to_arrow().to_batches(), schema=_schema(frame)).file


def _schema(frame: pl.DataFrame) -> Any:
    return frame.to_arrow().schema


WRITES = [_seal_model, _seal_answers, _seal_upload, _write_table]


@pytest.fixture
def store(settings: Any, tmp_path: Path) -> Callable[[], list[Path]]:
    """The files of a store of the test's own."""
    settings.VAR_DIR = tmp_path
    return lambda: [path for path in tmp_path.rglob("store/*/*") if path.is_file()]


@pytest.mark.parametrize("write", WRITES)
def test_an_artefact_on_a_full_disk_fails_the_job_and_leaves_nothing(
    write: Callable[[], str],
    submit: Callable[..., Job],
    store: Callable[[], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(attempt: Attempt) -> Any:
        with _largest_file(4096):
            write()

    monkeypatch.setattr("jobs.tasks.nothing.run", run)
    job = submit()
    execution.execute(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "disk_full"), job.trace
    assert job.trace == ""
    assert store() == []


@pytest.mark.parametrize("write", WRITES)
def test_an_artefact_is_synced_before_it_has_its_name(
    write: Callable[[], str],
    db: None,
    store: Callable[[], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, Path.replace

    def synced(handle: int) -> None:
        place = Path(f"/proc/self/fd/{handle}").readlink()
        steps.append("folder" if place.is_dir() else place.suffix)
        sync(handle)

    def renamed(self: Path, target: Path) -> Any:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    name = write()
    assert steps == [".part", "rename", "folder"]
    assert store() == [storage.path_of(name)]


def test_an_upload_that_is_given_up_leaves_nothing(
    db: None, store: Callable[[], list[Path]]
) -> None:
    sealing = uploads._Sealing()
    sealing.write(LARGE)
    assert [path.suffix for path in store()] == [".part"]
    del sealing
    assert store() == []
