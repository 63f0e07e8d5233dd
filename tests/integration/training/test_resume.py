"""A worker that is lost in mid-training: the next attempt resumes, and pays for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from jobs import execution, reaping
from jobs.models import Job
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.artefact import load_model
from privacyhub.engines.dp.events import PoissonGaussianEvent, compose, event_from_dict
from privacyhub.governance.models import EntryKind, Reservation
from privacyhub.training import artefacts, attempts
from privacyhub.training import services as training

RUN = Callable[[], None]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the attempt's own handling runs after it."""


@pytest.fixture
def lose(quick_engine: Any) -> Callable[..., None]:
    """Run the job until `at` steps ran, lose its worker, and let the reaper find it."""

    def run(job: Job, *, at: int) -> None:
        def stop(done: int) -> None:
            if done >= at:
                raise Killed

        quick_engine.after_block = stop
        with pytest.raises(Killed):
            execution.execute(str(job.pk))
        quick_engine.after_block = lambda done: None
        past = timezone.now() - timedelta(hours=1)
        Job.objects.filter(pk=job.pk).update(lease_until=past)
        reaping.reap()
        job.refresh_from_db()

    return run


def charged_events(account: Any, job: Job) -> list[Any]:
    lines = account.entries.filter(run_id=job.pk, kind=EntryKind.CHARGE).order_by("id")
    return [event_from_dict(line.event) for line in lines]


def checkpoint_files(job: Job) -> list[Path]:
    folder = Path(settings.VAR_DIR) / "checkpoints" / str(job.pk)
    return sorted(folder.iterdir())


def test_resumed_run_pays_for_what_it_replays_and_ends_earlier(
    submit: Callable[..., Any],
    lose: Callable[..., None],
    run_jobs: RUN,
    quick_engine: Any,
    register_version: Any,
) -> None:
    run = submit()
    steps = training.plan_of(run).spec.steps
    block = -(-steps // 20)
    lose(run.job, at=7 * block)  # the seventh block ran, but was not saved
    assert run.job.state == "queued"
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    account = the_ledger(register_version)
    told = run.model_version.guarantee
    assert told["steps"] == steps
    assert told["steps_in_model"] == steps - block
    assert told["steps_replayed"] == block
    assert [row["from_step"] for row in told["attempts"]] == [0, 6 * block]
    assert [row["charged"] for row in told["attempts"]] == [
        7 * block,
        steps - 7 * block,
    ]
    events = charged_events(account, run.job)
    steps_charged = sum(
        event.steps for event in events if isinstance(event, PoissonGaussianEvent)
    )
    assert steps_charged == steps >= quick_engine.steps_run
    held = Reservation.objects.get(run_id=run.job_id)
    assert held.charged == held.vector
    with artefacts.open_file(run.model_version) as source:
        kept = load_model(source)
    assert kept.steps_run == steps - block
    assert kept.guarantee == told


def test_guarantee_of_a_resumed_run_is_that_of_everything_charged(
    submit: Callable[..., Any],
    lose: Callable[..., None],
    run_jobs: RUN,
    register_version: Any,
) -> None:
    run = submit()
    steps = training.plan_of(run).spec.steps
    lose(run.job, at=steps // 2)
    lose(run.job, at=steps // 4)
    run_jobs()
    told = run.model_version.guarantee
    events = charged_events(the_ledger(register_version), run.job)
    delta = float(told["delta"]) - told["additive_delta"]
    whole = accounting.epsilon(compose(events), delta=delta)
    assert told["epsilon_accounted"] == pytest.approx(whole, rel=1e-3)
    assert float(told["epsilon"]) >= told["epsilon_accounted"]
    assert len(told["attempts"]) == 3
    charged = attempts.charged(run.job)
    assert charged.steps == told["steps"]
    assert sum(row["charged"] for row in told["attempts"]) == told["steps"]


def test_statistics_are_read_and_charged_once(
    submit: Callable[..., Any],
    lose: Callable[..., None],
    run_jobs: RUN,
    quick_engine: Any,
    register_version: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = submit()
    lose(run.job, at=1)

    def no_reading(*_: Any, **__: Any) -> None:
        raise AssertionError("the columns were read again")

    monkeypatch.setattr("privacyhub.training.encoders.dp_column_statistics", no_reading)
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.model_version.guarantee["readings_of_statistics"] == 1


def test_statistics_that_were_lost_are_read_and_charged_again(
    submit: Callable[..., Any],
    lose: Callable[..., None],
    run_jobs: RUN,
    register_version: Any,
) -> None:
    run = submit()
    plan = training.plan_of(run)
    lose(run.job, at=1)
    for file in checkpoint_files(run.job):
        file.unlink()
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    told = run.model_version.guarantee
    assert told["readings_of_statistics"] == 2
    assert told["steps_in_model"] < plan.spec.steps - told["steps_replayed"] + 1
    held = Reservation.objects.get(run_id=run.job_id)
    pairs = zip(held.charged, held.vector, strict=True)
    assert all(int(used) <= int(reserved) for used, reserved in pairs)
    assert int(held.charged_delta) <= int(held.delta)


def test_flipped_checkpoint_is_told_and_the_one_before_it_is_used(
    submit: Callable[..., Any], lose: Callable[..., None], run_jobs: RUN
) -> None:
    run = submit()
    block = -(-training.plan_of(run).spec.steps // 20)
    lose(run.job, at=7 * block)
    newest = checkpoint_files(run.job)[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    run_jobs()
    told = run.model_version.guarantee
    assert told["attempts"][1]["from_step"] == 5 * block
    assert told["steps_replayed"] == 2 * block


def test_run_that_saved_nothing_and_spent_everything_fails(
    submit: Callable[..., Any],
    lose: Callable[..., None],
    run_jobs: RUN,
    register_version: Any,
) -> None:
    run = submit()
    lose(run.job, at=training.plan_of(run).spec.steps)
    for file in checkpoint_files(run.job):
        file.unlink()
    run_jobs()
    run.job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "worker_lost")
    account = the_ledger(register_version)
    assert set(account.reserved_train) == {"0"}
    assert int(account.spent_train[0]) > 0


def test_second_reading_that_leaves_no_step_ends_without_a_model(
    submit: Callable[..., Any],
    run_jobs: RUN,
    quick_engine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = submit()
    left = iter([5, 0])  # before the columns were read, and after
    monkeypatch.setattr(attempts, "affordable_steps", lambda **_: next(left))
    run_jobs()
    run.job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "worker_lost")
    assert quick_engine.steps_run == 0


def test_three_lost_workers_in_a_row_are_poison_and_return_nothing_charged(
    submit: Callable[..., Any],
    lose: Callable[..., None],
    quick_engine: Any,
    register_version: Any,
) -> None:
    run = submit()
    for _ in range(3):
        lose(run.job, at=1)  # before the first checkpoint of a step
    assert (run.job.state, run.job.error_code) == ("failed", "poison")
    account = the_ledger(register_version)
    held = Reservation.objects.get(run_id=run.job_id)
    assert held.state == "settled"
    assert account.spent_train == held.charged
    assert attempts.charged(run.job).steps >= quick_engine.steps_run > 0


def test_no_checkpoint_holds_a_weight_or_a_name_in_the_clear(
    submit: Callable[..., Any], lose: Callable[..., None]
) -> None:
    run = submit(privacy="dp")
    lose(run.job, at=2 * -(-training.plan_of(run).spec.steps // 20))
    for file in checkpoint_files(run.job):
        content = file.read_bytes()
        assert b"encoder" not in content
        assert b"creatinine" not in content
        assert b'"seed"' not in content  # four letters stand in a cipher by chance


def test_resumed_run_without_privacy_is_noted_once(
    submit: Callable[..., Any],
    run_jobs: RUN,
    quick_engine: Any,
    register_version: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = submit(privacy="none", reason="To see what privacy costs.")
    plain = quick_engine.train_plain

    def killed(*_: Any, **options: Any) -> None:
        options["on_checkpoint"](3, b"3")
        raise Killed

    monkeypatch.setattr(quick_engine, "train_plain", killed)
    with pytest.raises(Killed):
        execution.execute(str(run.job_id))
    past = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=run.job_id).update(lease_until=past)
    reaping.reap()
    given: list[Any] = []

    def resumed(*data: Any, **options: Any) -> Any:
        given.append(options["resume_from"])
        return plain(*data, **options)

    monkeypatch.setattr(quick_engine, "train_plain", resumed)
    run_jobs()
    assert given == [b"3"]
    assert run.model_version.guarantee["covered"] is False
    account = the_ledger(register_version)
    noted = account.entries.filter(run_id=run.job_id, kind=EntryKind.UNCOVERED)
    assert noted.count() == 1
