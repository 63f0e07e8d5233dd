"""Where no worker lives, the web ends what was cancelled."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import OperationalError

from jobs import reaping, web_reaper
from privacyhub import processes
from tests.conftest import REPOSITORY
from tests.faults.servers import free_port
from tests.integration.jobs.conftest import environment_of, told_by_driver

PATIENCE = 60.0
STOPS_WITHIN = 15.0  # seconds, before gunicorn would end a web worker itself


class _Over(BaseException):
    """Ends a loop that has no end of its own."""


@contextmanager
def _web(
    folder: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "web.log").open("wb") as log:
        web = subprocess.Popen(
            processes.web(address=f"127.0.0.1:{free_port()}"),
            env=environment,
            cwd=REPOSITORY,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield web
    finally:
        with suppress(ProcessLookupError):
            os.killpg(web.pid, signal.SIGKILL)
        web.wait()


def _state(folder: Path) -> str:
    """Of the only job."""
    with closing(sqlite3.connect(folder / "hub.sqlite3")) as database:
        ((state,),) = database.execute("SELECT state FROM jobs_job").fetchall()
    return state


def _until_ended(folder: Path) -> str:
    until = time.monotonic() + PATIENCE
    while (state := _state(folder)) == "running" and time.monotonic() < until:
        time.sleep(0.1)
    return state


def test_a_cancelled_job_ends_where_no_worker_lives(folder: Path) -> None:
    environment = environment_of(folder, lease=600)
    left = told_by_driver(environment, "abandon")
    assert left == {"state": "running", "attempt": 1, "leased": True}
    with _web(folder, environment) as web:
        assert _until_ended(folder) == "cancelled"
        web.terminate()
        assert web.wait(STOPS_WITHIN) == 0


def test_a_web_worker_that_dies_in_its_round_leaves_the_job_to_the_next(
    folder: Path,
) -> None:
    points = ("reap.locked", "reap.in_transaction", "reap.committed")
    environment = environment_of(folder, lease=600)
    told_by_driver(environment, "abandon")
    strikes = {"PRIVACYHUB_FAILPOINT": ",".join(f"{point}*1" for point in points)}
    with _web(folder, environment | strikes):
        assert _until_ended(folder) == "cancelled"
    marks = {path.name for path in (folder / "failpoints").iterdir()}
    assert marks == {f"{point}.1" for point in points}


def test_the_default_times_add_up_to_less_than_30_seconds() -> None:
    """Until it counts as lost, until the next round, and a round's length to spare."""
    lost_after = settings.JOB_CANCEL_GRACE + 5 * settings.JOB_CANCEL_POLL
    assert lost_after + settings.JOB_REAP_EVERY < timedelta(seconds=30)


def test_the_reaper_of_the_web_survives_what_breaks_a_round(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []
    breaks: list[BaseException] = [OperationalError("away"), ValueError("odd"), _Over()]
    rounds = iter(breaks)

    def reap_lost() -> None:
        raise next(rounds)

    monkeypatch.setattr(web_reaper.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(reaping.connection, "close", lambda: closed.append("closed"))
    monkeypatch.setattr(reaping, "reap_lost", reap_lost)
    with pytest.raises(_Over):
        web_reaper._reap_for_ever()
    assert len(closed) == len(breaks)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
