"""A real worker process on the folder broker, and on Redis where one is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
DRIVER = "tests.integration.jobs.queue_driver"
WORKER = ["-m", "celery", "-A", "jobs.celery", "worker", "-Q", "light,data,train"]


def _environment(folder: Path, *, redis: str = "", lease: int = 2) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "privacyhub.settings",
        "PRIVACYHUB_VAR": str(folder),
        "PRIVACYHUB_JOB_LEASE": str(lease),
        "PRIVACYHUB_JOB_REAP": "1",
        "PRIVACYHUB_JOB_DRAIN": "6",
        "PRIVACYHUB_MAX_RUNNING_JOBS": "8",
        "DATABASE_URL": "",
        "REDIS_URL": redis,
    }


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hub whose database is there, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    manage = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(manage, env=_environment(folder), cwd=REPOSITORY, check=True)
    return folder


@pytest.fixture
def folder(migrated: Path, tmp_path: Path) -> Path:
    return shutil.copytree(migrated, tmp_path / "hub")


@contextmanager
def _worker(
    folder: Path, environment: dict[str, str], *, children: int
) -> Iterator[subprocess.Popen[bytes]]:
    worker = subprocess.Popen(
        [sys.executable, *WORKER, "--concurrency", str(children)],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "worker.log").open("w"),
        start_new_session=True,
    )
    try:
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()


def _told(environment: dict[str, str], action: str) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-m", DRIVER, action],
        env=environment,
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=180,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def _assert_nothing_was_lost(told: dict[str, Any]) -> None:
    assert told["nothing"] == {"state": "succeeded", "attempt": 1}
    killed = told["killed"]
    assert (killed["state"], killed["workers_lost"]) == ("succeeded", 1)
    assert killed["attempt"] == 3  # claimed, fenced by the reaper, claimed again
    assert told["cancelled"]["state"] == "cancelled"
    assert told["workers"] == 1


def test_worker_survives_the_death_of_its_child(folder: Path) -> None:
    environment = _environment(folder)
    with _worker(folder, environment, children=2):
        _assert_nothing_was_lost(_told(environment, "lose"))


@pytest.mark.parametrize("whole_group", [False, True])
def test_a_worker_that_is_to_stop_ends_short_jobs_and_gives_back_long_ones(
    folder: Path, whole_group: bool
) -> None:
    environment = _environment(folder, lease=20)
    with _worker(folder, environment, children=8) as worker:
        _told(environment, "fill")
        if whole_group:
            os.killpg(worker.pid, signal.SIGTERM)
        else:
            worker.terminate()
        assert worker.wait(40) == 0
    told = _told(environment, "tell")
    assert told["3"] == [["succeeded", 1, 0]] * 4
    assert told["50"] == [["queued", 1, 0]] * 4


@pytest.mark.service
def test_worker_on_redis_survives_the_death_of_its_child(folder: Path) -> None:
    environment = _environment(folder, redis=os.environ["REDIS_URL"])
    with _worker(folder, environment, children=2):
        _assert_nothing_was_lost(_told(environment, "lose"))
