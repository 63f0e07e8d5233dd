"""`manage.py serve` starts again what ended by itself, later each time."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from privacyhub import processes
from privacyhub.web.management.commands import serve
from privacyhub.web.management.commands.serve import Hub

STAYS = [sys.executable, "-c", "import time; time.sleep(60)"]
ENDS = [sys.executable, "-c", ""]


@pytest.fixture
def hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[list[str], list[str]], Hub]:
    """A hub whose web and worker are these commands."""
    monkeypatch.setattr(serve, "LOGS", tmp_path)
    monkeypatch.setattr(serve, "PAUSES", (0.01, 0.02, 0.03))

    def make(web: list[str], worker: list[str]) -> Hub:
        monkeypatch.setattr(processes, "web", lambda **_: web)
        monkeypatch.setattr(processes, "worker", lambda: worker)
        return Hub(port=1)

    return make


def _keep_alive_until(hub: Hub, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        hub.keep_alive()
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_process_that_was_killed_is_started_again(
    hub: Callable[[list[str], list[str]], Hub], name: str
) -> None:
    with hub(STAYS, STAYS) as running:
        first = {child._name: child.process.pid for child in running._children}
        killed = next(child for child in running._children if child._name == name)
        os.kill(first[name], signal.SIGKILL)
        killed.process.wait()
        _keep_alive_until(running, lambda: killed.process.poll() is None)
        now = {child._name: child.process.pid for child in running._children}
    assert {one for one in now if now[one] != first[one]} == {name}


def test_one_that_ends_each_time_ends_the_hub(
    hub: Callable[[list[str], list[str]], Hub], caplog: pytest.LogCaptureFixture
) -> None:
    with hub(STAYS, ENDS) as running, pytest.raises(CommandError, match="worker"):
        _keep_alive_until(running, lambda: False)
    assert len(caplog.records) == len(serve.PAUSES)


def test_one_that_ran_well_has_all_its_starts_again(
    hub: Callable[[list[str], list[str]], Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STEADY", 0.0)
    with hub(STAYS, ENDS) as running:
        worker = running._children[1]
        seen: set[int] = set()

        def often() -> bool:
            seen.add(worker.process.pid)
            return len(seen) > 2 * len(serve.PAUSES)

        _keep_alive_until(running, often)


def test_a_hub_that_does_not_start_says_so_at_once(
    hub: Callable[[list[str], list[str]], Hub],
) -> None:
    with hub(ENDS, STAYS) as running:
        running._children[0].process.wait()
        with pytest.raises(CommandError, match="web"):
            running.wait_until_ready()
