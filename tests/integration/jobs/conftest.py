"""A job that does nothing, queued or running, for the tests of the queue; and a hub of
a test's own for those that start processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import services
from jobs.models import Job
from tests.conftest import REPOSITORY

DRIVER = "tests.integration.jobs.queue_driver"


def environment_of(folder: Path, *, redis: str = "", lease: int = 8) -> dict[str, str]:
    """The variables of an embedded hub in a folder."""
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


def told_by_driver(environment: dict[str, str], action: str) -> dict[str, Any]:
    """What an action of the queue's driver prints, in a process of that hub."""
    answer = subprocess.run(
        [sys.executable, "-m", DRIVER, action],
        env=environment,
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=180,
    )
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hub whose database is there, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    manage = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(manage, env=environment_of(folder), cwd=REPOSITORY, check=True)
    return folder


@pytest.fixture
def folder(migrated: Path, tmp_path: Path) -> Path:
    return shutil.copytree(migrated, tmp_path / "hub")


@pytest.fixture
def submit(steward: Any) -> Callable[..., Job]:
    def make(**more: Any) -> Job:
        given = {"kind": "nothing", "title": "Nothing", "owner": steward, "spec": {}}
        return services.submit(**{**given, **more})

    return make


@pytest.fixture
def running(submit: Callable[..., Job]) -> Job:
    """A job as the worker that claimed it holds it."""
    claimed = services.claim(job_id=submit().pk, worker="one")
    assert claimed is not None
    return claimed
