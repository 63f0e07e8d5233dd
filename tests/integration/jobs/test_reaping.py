"""The reaper goes on past a bad row, and asks a silent broker once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs import keeper, reaping, services, transitions, workers
from jobs.models import Job
from jobs.states import State

Submit = Callable[..., Job]


def _lost(submit: Submit) -> Job:
    job = services.claim(job_id=submit().pk, worker="lost")
    assert job is not None
    past = timezone.now() - timedelta(seconds=1)
    Job.objects.filter(pk=job.pk).update(lease_until=past)
    return job


def test_one_bad_row_does_not_keep_the_others(
    submit: Submit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [_lost(submit) for _ in range(3)]
    bad = Job.objects.lost().first()
    real = transitions.put_back

    def put_back(row: Job, *, lost: bool) -> None:
        if row.pk == bad.pk:
            raise ValueError("something about this row")
        real(row, lost=lost)

    monkeypatch.setattr(transitions, "put_back", put_back)
    reaping.reap()
    states = {job.pk: Job.objects.get(pk=job.pk).state for job in jobs}
    assert states.pop(bad.pk) == State.RUNNING
    assert set(states.values()) == {State.QUEUED}
    assert str(bad.pk) in caplog.text


def test_a_database_that_is_gone_ends_the_round(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lost(submit)
    tried: list[Any] = []

    def gone(pk: Any) -> None:
        tried.append(pk)
        raise ValueError("no word of it")

    monkeypatch.setattr(reaping, "_reap_one", gone)
    monkeypatch.setattr(reaping.connection, "is_usable", lambda: False)
    with pytest.raises(ValueError, match="no word"):
        reaping.reap()
    assert len(tried) == 1


def test_a_silent_broker_is_asked_once_a_round(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        submit()
    Job.objects.update(published_at=None)
    asked: list[str] = []

    def silent_after(count: int) -> None:
        def send(*, job_id: str, queue: str) -> bool:
            asked.append(job_id)
            return len(asked) <= count

        monkeypatch.setattr("jobs.messages.send", send)

    silent_after(0)
    assert (reaping.reap(), len(asked)) == (0, 1)
    asked.clear()
    silent_after(2)
    assert (reaping.reap(), len(asked)) == (2, 3)
    assert Job.objects.filter(published_at=None).count() == 2


def _noted(what: str, done: list[str]) -> Callable[..., None]:
    return lambda **_: done.append(what)


def test_the_keeper_says_that_its_worker_lives_after_a_long_round_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    parents = iter([7, 8])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(keeper, "_wait", lambda parent: None)
    monkeypatch.setattr(reaping.connection, "close", lambda: None)
    monkeypatch.setattr(keeper.registry, "run_tidying_hooks", lambda: None)
    monkeypatch.setattr(reaping, "reap", _noted("reap", done))
    for name in ("say_that_it_lives", "say_goodbye"):
        monkeypatch.setattr(workers, name, _noted(name, done))
    keeper.main("host:7", "light", 1)
    assert done == ["say_that_it_lives", "reap", "say_that_it_lives", "say_goodbye"]
