"""A real worker process on the folder broker, and on Redis where one is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
DRIVER = "tests.integration.jobs.queue_driver"
WORKER = ["-m", "celery", "-A", "jobs.celery", "worker", "--concurrency", "2"]


def _environment(folder: Path, redis: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "privacyhub.settings",
        "PRIVACYHUB_VAR": str(folder),
        "PRIVACYHUB_JOB_LEASE": "2",
        "PRIVACYHUB_JOB_REAP": "1",
        "DATABASE_URL": "",
        "REDIS_URL": redis,
    }


@contextmanager
def _hub(folder: Path, *, redis: str = "") -> Iterator[dict[str, str]]:
    """A hub of its own with one worker; its environment."""
    environment = _environment(folder, redis)
    manage = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(manage, env=environment, cwd=REPOSITORY, check=True)
    worker = subprocess.Popen(
        [sys.executable, *WORKER, "-Q", "light,data,train"],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "worker.log").open("w"),
    )
    try:
        yield environment
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()


def _told(environment: dict[str, str]) -> dict[str, dict[str, object]]:
    answer = subprocess.run(
        [sys.executable, "-m", DRIVER],
        env=environment,
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=180,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def _assert_nothing_was_lost(told: dict[str, dict[str, object]]) -> None:
    assert told["nothing"] == {"state": "succeeded", "attempt": 1}
    killed = told["killed"]
    assert (killed["state"], killed["workers_lost"]) == ("succeeded", 1)
    assert killed["attempt"] == 3  # claimed, fenced by the reaper, claimed again
    assert told["cancelled"]["state"] == "cancelled"
    assert told["workers"] == 1


def test_worker_survives_the_death_of_its_child(tmp_path: Path) -> None:
    with _hub(tmp_path) as environment:
        _assert_nothing_was_lost(_told(environment))


@pytest.mark.service
def test_worker_on_redis_survives_the_death_of_its_child(tmp_path: Path) -> None:
    with _hub(tmp_path, redis=os.environ["REDIS_URL"]) as environment:
        _assert_nothing_was_lost(_told(environment))
