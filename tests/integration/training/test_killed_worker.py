"""A real process is killed in mid-training; another one ends its run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from privacyhub.engines.dp.accounting import epsilon
from privacyhub.engines.dp.events import PoissonGaussianEvent, compose, event_from_dict

REPOSITORY = Path(__file__).resolve().parents[3]
STRUCK = 7  # the block after which the process dies, before its checkpoint


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A hub of its own: a folder, and a database beside the tests' one."""
    found = {
        **os.environ,
        "PRIVACYHUB_VAR": str(tmp_path),
        "PRIVACYHUB_TEST_VAR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    found.pop("DATABASE_URL", None)
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        yield found
        return
    name = f"killed_{os.getpid()}"
    told = settings.DATABASES["default"]
    psycopg = pytest.importorskip("psycopg")
    server = {
        "host": told["HOST"],
        "port": told["PORT"] or 5432,
        "user": told["USER"],
        "password": told["PASSWORD"],
        "dbname": "postgres",
        "autocommit": True,
    }
    with psycopg.connect(**server) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield found | {"DATABASE_URL": url.rpartition("/")[0] + f"/{name}"}
    finally:
        with psycopg.connect(**server) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def process(
    what: str, environment: dict[str, str], *, module: str = "killed_run"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"tests.integration.training.{module}", what]
    return subprocess.run(  # noqa: S603 - our own words
        command,
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_killed_training_is_resumed_by_another_process(
    environment: dict[str, str],
) -> None:
    strike = {"PRIVACYHUB_FAILPOINT": f"train.ran@{STRUCK}*1"}
    first = process("train", environment | strike)
    assert first.returncode == -signal.SIGKILL, first.stderr[-2000:]
    second = process("resume", environment)
    assert second.returncode == 0, second.stderr[-2000:]
    told = json.loads(second.stdout)
    assert told["lost"] == "running"
    assert told["state"] == "succeeded", told["trace"]
    block = -(-told["planned"] // 20)
    guarantee = told["guarantee"]
    assert guarantee["steps_replayed"] == block
    assert guarantee["steps_in_model"] == told["planned"] - block
    assert guarantee["attempts"][1]["from_step"] == (STRUCK - 1) * block
    events = [event_from_dict(event) for event in told["charges"]]
    steps = [e.steps for e in events if isinstance(e, PoissonGaussianEvent)]
    assert sum(steps) == guarantee["steps"] == told["planned"]
    assert told["charged"] == told["reserved"]
    delta = float(guarantee["delta"]) - guarantee["additive_delta"]
    whole = epsilon(compose(events), delta=delta)
    assert guarantee["epsilon_accounted"] == pytest.approx(whole, rel=1e-3)
    assert told["kept"] == guarantee


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("finish.published", ["running", "queued", False]),
        ("end.committed", ["succeeded", "queued", True]),
    ],
)
def test_training_follows_an_anonymization_whose_worker_is_killed_at_its_end(
    point: str, left: list[object], environment: dict[str, str]
) -> None:
    """The release and the training's version are there together, or neither is."""
    # The first end is that of the upload.
    strike = {"PRIVACYHUB_FAILPOINT": f"{point}@2*1"}
    first = process("order", environment | strike, module="killed_chain")
    assert first.returncode == -signal.SIGKILL, first.stderr[-2000:]
    second = process("follow", environment, module="killed_chain")
    assert second.returncode == 0, second.stderr[-2000:]
    told = json.loads(second.stdout)
    assert told["left"] == left
    assert told["states"] == ["succeeded", "succeeded"], told["trace"]
    assert told["on_the_release"]
    assert told["releases"] == 1
    assert (told["held"], told["charged_as_reserved"]) == ("settled", True)
