"""Checkpoints: durable, fenced, verified; a full disk or a bad file loses nothing."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from jobs import checkpoints, failpoints, reaping, services
from jobs.models import Job
from jobs.states import JobFailed, StaleAttempt

CONTENT = b"opaque \x00 content" * 500


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path


def _files(job: Job) -> list[Path]:
    folder = checkpoints._folder(job.pk)
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _next_attempt(job: Job) -> Job:
    past = timezone.now() - timedelta(seconds=1)
    Job.objects.filter(pk=job.pk).update(lease_until=past)
    reaping.reap()
    claimed = services.claim(job_id=job.pk, worker="the next")
    assert claimed is not None
    return claimed


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_newest_of_two_that_are_kept_is_used(running: Job) -> None:
    assert checkpoints.latest(job=running) is None
    for position in (8, 9, 10, 11):
        checkpoints.save(job=running, position=position, content=b"%d" % position)
    found = checkpoints.latest(job=running)
    assert found == checkpoints.Checkpoint(position=11, attempt=1, content=b"11")
    assert len(_files(running)) == checkpoints.KEPT


@pytest.mark.parametrize("cut", [0, 7, 20, 41, 300, -1])
def test_a_truncated_one_is_told_and_the_one_before_used(
    running: Job, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.save(job=running, position=1, content=b"good")
    checkpoints.save(job=running, position=2, content=CONTENT)
    newest = _files(running)[-1]
    newest.write_bytes(newest.read_bytes()[:cut])
    with caplog.at_level(logging.ERROR):
        found = checkpoints.latest(job=running)
    assert found is not None
    assert (found.position, found.content) == (1, b"good")
    assert newest.name in caplog.text
    checkpoints.save(job=running, position=3, content=b"on")
    assert [path.name[-1] for path in _files(running)] == ["1", "3"]


def test_any_flipped_bit_is_told(running: Job) -> None:
    checkpoints.save(job=running, position=2, content=b"some content")
    path = _files(running)[-1]
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        assert checkpoints.latest(job=running) is None, place
    path.write_bytes(whole)
    assert checkpoints.latest(job=running) is not None


def test_one_of_another_job_is_not_used(
    running: Job, submit: Callable[..., Job]
) -> None:
    other = services.claim(job_id=submit().pk, worker="two")
    assert other is not None
    checkpoints.save(job=other, position=2, content=b"of the other")
    checkpoints.save(job=running, position=1, content=b"own")
    foreign = _files(other)[0]
    foreign.rename(_files(running)[0].with_name(foreign.name))
    found = checkpoints.latest(job=running)
    assert found is not None
    assert found.content == b"own"


def test_a_full_disk_fails_the_job_and_leaves_the_old_one(running: Job) -> None:
    checkpoints.save(job=running, position=1, content=b"old")
    with _largest_file(4096), pytest.raises(JobFailed) as refused:
        checkpoints.save(job=running, position=2, content=CONTENT)
    assert refused.value.code == "disk_full"
    assert len(_files(running)) == 1
    found = checkpoints.latest(job=running)
    assert found is not None
    assert found.content == b"old"


def test_a_full_disk_leaves_nothing_where_nothing_was(running: Job) -> None:
    with _largest_file(4096), pytest.raises(JobFailed):
        checkpoints.save(job=running, position=2, content=CONTENT)
    assert not checkpoints._folder(running.pk).exists()


def test_only_the_attempt_that_holds_the_job_saves(running: Job) -> None:
    checkpoints.save(job=running, position=5, content=b"of the first")
    second = _next_attempt(running)
    with pytest.raises(StaleAttempt):
        checkpoints.save(job=running, position=6, content=b"too late")
    found = checkpoints.latest(job=second)
    assert found is not None
    assert found.content == b"of the first"
    checkpoints.save(job=second, position=5, content=b"of the second")
    found = checkpoints.latest(job=second)
    assert found is not None
    assert (found.attempt, found.content) == (second.attempt, b"of the second")


def test_the_end_of_the_job_takes_them_away(
    running: Job, django_capture_on_commit_callbacks: Any
) -> None:
    checkpoints.save(job=running, position=1, content=b"done soon")
    with django_capture_on_commit_callbacks(execute=True):
        services.finish(job=running, publish=dict)
    assert not _files(running)
    with pytest.raises(StaleAttempt):
        checkpoints.save(job=running, position=2, content=b"too late")
    assert not checkpoints._folder(running.pk).exists()


def test_orphans_are_tidied_and_open_jobs_kept(
    running: Job, submit: Callable[..., Job]
) -> None:
    other = services.claim(job_id=submit().pk, worker="two")
    assert other is not None
    for job in (running, other):
        checkpoints.save(job=job, position=1, content=b"of an open job")
    services.fail(job=other, code="broken", message="It broke.")  # never commits here
    assert checkpoints.discard_orphans() == 1
    assert _files(running)
    assert not _files(other)


def test_a_checkpoint_further_on_ends_a_row_of_lost_workers(running: Job) -> None:
    attempt = running
    for position in (1, 2, 3, 4, 5):
        attempt = _next_attempt(attempt)
        checkpoints.save(job=attempt, position=position, content=b"further")
    attempt.refresh_from_db()
    assert (attempt.workers_lost, attempt.saved_to) == (0, 5)
    for _ in range(2):
        attempt = _next_attempt(attempt)
        checkpoints.save(job=attempt, position=5, content=b"no further")
    past = timezone.now() - timedelta(seconds=1)
    Job.objects.filter(pk=attempt.pk).update(lease_until=past)
    reaping.reap()
    attempt.refresh_from_db()
    assert (attempt.state, attempt.error_code) == ("failed", "poison")


def test_a_failpoint_strikes_as_often_as_its_rule_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rules = failpoints.parse("run.starting@2*1=full, beat.written:0=full")
    monkeypatch.setattr(failpoints, "_rules", rules)
    failpoints.reach("run.starting")
    for _ in range(50):
        failpoints.reach("beat.written")
        failpoints.reach("end.committed")
    with pytest.raises(OSError, match="No space left"):
        failpoints.reach("run.starting")
    failpoints.reach("run.starting")
    marks = [path.name for path in (tmp_path / "failpoints").iterdir()]
    assert marks == ["run.starting.1"]


@pytest.mark.parametrize(
    "text", ["nowhere", "run.starting=explode", "run.starting@", "run.starting 1"]
)
def test_a_wrong_failpoint_stops_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="PRIVACYHUB_FAILPOINT"):
        failpoints.parse(text)


def test_production_refuses_failpoints(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "privacyhub.settings",
        "PRIVACYHUB_VAR": str(tmp_path),
        "PRIVACYHUB_PRODUCTION": "true",
        "PRIVACYHUB_SECRET_KEY": "s" * 60,
        "DATABASE_URL": "postgresql://h/d",
        "REDIS_URL": "redis://h",
        "PRIVACYHUB_FAILPOINT": "run.starting",
    }
    start = subprocess.run(
        [sys.executable, "-c", "import privacyhub.settings"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert start.returncode != 0
    assert "PRIVACYHUB_FAILPOINT must not be set in production" in start.stderr


def test_only_what_an_attempt_before_left_half_written_goes(running: Job) -> None:
    folder = checkpoints._folder(running.pk)
    folder.mkdir(parents=True)
    earlier, later = (
        folder / f".{attempt:06d}-{9:018d}.1.part"
        for attempt in (running.attempt, running.attempt + 1)
    )
    for path in (earlier, later):
        path.write_bytes(b"half")
    checkpoints.save(job=running, position=1, content=b"whole")
    assert (earlier.exists(), later.exists()) == (False, True)


def test_files_are_taken_away_only_while_the_job_is_held(
    running: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [False]
    real = services.held

    @contextmanager
    def watched(*, job: Job) -> Iterator[None]:
        with real(job=job):
            held[0] = True
            yield
            held[0] = False

    unlink = Path.unlink

    def checked(self: Path, missing_ok: bool = False) -> None:
        assert held[0], self.name
        unlink(self, missing_ok=missing_ok)

    for position in (1, 2):
        checkpoints.save(job=running, position=position, content=b"kept")
    monkeypatch.setattr(services, "held", watched)
    monkeypatch.setattr(Path, "unlink", checked)
    checkpoints.save(job=running, position=3, content=b"newest")
    assert len(_files(running)) == checkpoints.KEPT
