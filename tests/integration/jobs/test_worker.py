"""A real worker process on the folder broker, and on Redis where one is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.integration.jobs.conftest import environment_of, told_by_driver

WORKER = ["-m", "celery", "-A", "jobs.celery", "worker", "-Q", "light,data,train"]


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


def _assert_nothing_was_lost(told: dict[str, Any]) -> None:
    assert told["nothing"] == {"state": "succeeded", "attempt": 1}
    killed = told["killed"]
    assert (killed["state"], killed["workers_lost"]) == ("succeeded", 1)
    assert killed["attempt"] == 3  # claimed, fenced by the reaper, claimed again
    assert told["cancelled"]["state"] == "cancelled"
    assert told["workers"] == 1


def test_worker_survives_the_death_of_its_child(folder: Path) -> None:
    environment = environment_of(folder)
    with _worker(folder, environment, children=2):
        _assert_nothing_was_lost(told_by_driver(environment, "lose"))


@pytest.mark.parametrize("whole_group", [False, True])
def test_a_worker_that_is_to_stop_ends_short_jobs_and_gives_back_long_ones(
    folder: Path, whole_group: bool
) -> None:
    environment = environment_of(folder, lease=20)
    with _worker(folder, environment, children=8) as worker:
        told_by_driver(environment, "fill")
        if whole_group:
            os.killpg(worker.pid, signal.SIGTERM)
        else:
            worker.terminate()
        assert worker.wait(40) == 0
    told = told_by_driver(environment, "tell")
    assert told["3"] == [["succeeded", 1, 0]] * 4
    assert told["50"] == [["queued", 1, 0]] * 4


@pytest.mark.service
def test_worker_on_redis_survives_the_death_of_its_child(folder: Path) -> None:
    environment = environment_of(folder, redis=os.environ["REDIS_URL"])
    with _worker(folder, environment, children=2):
        _assert_nothing_was_lost(told_by_driver(environment, "lose"))
