"""An assessment that is interrupted: charged once, drawn once, published at last."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from jobs import checkpoints, execution, reaping, registry, services
from jobs.execution import Attempt
from jobs.models import Job
from jobs.states import NotRepeatable
from privacyhub.assessment import evaluation, group_evaluation, saved
from privacyhub.assessment.models import Assessment, GroupAssessment
from privacyhub.datasets import tables
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import the_ledger
from privacyhub.governance import ledger
from privacyhub.governance.models import EntryKind, Reservation
from privacyhub.training import artefacts

KINDS = ("assess", "assess_groups")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the attempt's own handling runs after it."""


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path, model_version: Any) -> None:
    """For the checkpoints; the model's file lies where it was trained."""
    (tmp_path / "store").symlink_to(Path(settings.VAR_DIR) / "store")
    settings.VAR_DIR = tmp_path


@pytest.fixture
def ask(model_version: Any, steward: Any) -> Callable[[str], Job]:
    """Queue an assessment of the kind."""
    column = model_version.run.version.columns.get(name="sex")
    column.categories = ["female", "male"]
    column.save(update_fields=["categories"])

    def submit(kind: str) -> Job:
        asked = {"model_version": model_version, "by": steward, "epsilon": "0.5"}
        if kind == "assess":
            return evaluation.submit(**asked)
        return group_evaluation.submit(column="sex", **asked)

    return submit


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was drawn from the held-out rows, in order."""
    seen: list[Any] = []

    def watch(module: Any) -> None:
        real = module.released

        def draw(**asked: Any) -> Any:
            seen.append(real(**asked))
            return seen[-1]

        monkeypatch.setattr(module, "released", draw)

    watch(evaluation)
    watch(group_evaluation)
    return seen


@pytest.fixture
def give_back_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A worker is to stop as its job first comes to a stage."""

    def arrange(asked: str) -> None:
        real = Attempt.report
        given_back: list[Any] = []

        def report(self: Attempt, stage: str, *told: Any, **more: Any) -> None:
            if stage == asked and not given_back:
                given_back.append(self.job.pk)
                self._given_back.set()
            real(self, stage, *told, **more)

        monkeypatch.setattr(Attempt, "report", report)

    return arrange


def _kill_at(module: Any, name: str, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the job until it comes there, and give it to the next worker."""

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, name, killed)
        with pytest.raises(Killed):
            _run(job)
    past = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(lease_until=past)
    reaping.reap()


def _run(job: Job) -> Job:
    execution.execute(str(job.pk))
    job.refresh_from_db()
    return job


def _charges(job: Job, model_version: Any) -> int:
    lines = the_ledger(model_version.run.version).entries
    return lines.filter(run_id=job.pk, kind=EntryKind.CHARGE).count()


def _made(job: Job) -> Any:
    kinds: dict[str, Any] = {"assess": Assessment, "assess_groups": GroupAssessment}
    return kinds[job.kind].objects.get(job=job)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_drawn_is_published_by_the_next_attempt(
    kind: str,
    ask: Callable[[str], Job],
    drawn: list[Any],
    give_back_at: Callable[[str], None],
    model_version: Any,
) -> None:
    give_back_at("publishing")
    job = _run(ask(kind))
    assert (job.state, job.attempt, len(drawn)) == ("queued", 1, 1)
    assert _charges(job, model_version) == 1
    _run(job)
    assert (job.state, job.attempt) == ("succeeded", 2), job.trace or job.message
    assert (len(drawn), _charges(job, model_version)) == (1, 1)
    assert _made(job).released == drawn[0]
    assert Reservation.objects.get(run_id=job.pk).state == "settled"


@pytest.mark.parametrize("kind", KINDS)
def test_an_attempt_that_ended_before_the_charge_costs_nothing(
    kind: str,
    ask: Callable[[str], Job],
    drawn: list[Any],
    model_version: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = ask(kind)
    _kill_at(artefacts, "load", job, monkeypatch)
    assert _charges(job, model_version) == 0
    assert _run(job).state == "succeeded", job.trace or job.message
    assert (len(drawn), _charges(job, model_version)) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("module", "name"), [(tables, "load"), (evaluation, "score"), (saved, "save")]
)
def test_an_attempt_that_was_lost_after_the_charge_is_paid_for(
    kind: str,
    module: Any,
    name: str,
    ask: Callable[[str], Job],
    drawn: list[Any],
    model_version: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = ask(kind)
    _kill_at(module, name, job, monkeypatch)
    assert _charges(job, model_version) == 1
    assert _run(job).state == "succeeded", job.trace or job.message
    assert _charges(job, model_version) == 1
    assert _made(job).released == drawn[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_is_read_before_the_charge(
    kind: str,
    ask: Callable[[str], Job],
    model_version: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the rows do to the job, what it has read is paid for."""
    paid = []
    job = ask(kind)

    def poisoned(*_: Any, **__: Any) -> None:
        paid.append((_charges(job, model_version), len(connection.savepoint_ids)))
        raise ValueError("of these rows")

    of_the_test = len(connection.savepoint_ids)
    monkeypatch.setattr(tables, "load", poisoned)
    assert (_run(job).state, job.error_code) == ("failed", "bug")
    assert paid == [(1, of_the_test)]  # in no transaction that could undo it
    assert Reservation.objects.get(run_id=job.pk).state == "settled"
    assert _charges(job, model_version) == 1


def test_an_erased_version_is_found_out_before_the_charge(
    ask: Callable[[str], Job], model_version: Any
) -> None:
    job = ask("assess")
    version = model_version.run.version
    Version.objects.filter(pk=version.pk).update(erased_at=timezone.now())
    assert (_run(job).state, job.error_code) == ("failed", "erased")
    assert Reservation.objects.get(run_id=job.pk).state == "released"


def test_a_reservation_that_is_gone_is_found_out_before_the_read(
    ask: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ask("assess")
    ledger.settle(run_id=job.pk)
    monkeypatch.setattr(tables, "load", None)
    assert (_run(job).state, job.error_code) == ("failed", "not_reserved")


def test_a_draw_that_could_not_be_saved_was_not_charged(
    ask: Callable[[str], Job], model_version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write", full)
    job = _run(ask("assess"))
    assert (job.state, job.error_code) == ("failed", "disk_full")
    assert _charges(job, model_version) == 0
    assert Reservation.objects.get(run_id=job.pk).state == "released"


def _lose(job: Job) -> None:
    checkpoints._forget(job.pk)


def _damage(job: Job) -> None:
    newest = next(checkpoints._newest_first(checkpoints._folder(job.pk)))
    newest.write_bytes(newest.read_bytes()[:-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lose", [_lose, _damage])
def test_a_charge_whose_draw_was_lost_is_not_drawn_for_twice(
    kind: str,
    lose: Callable[[Job], None],
    ask: Callable[[str], Job],
    drawn: list[Any],
    give_back_at: Callable[[str], None],
    steward: Any,
    model_version: Any,
) -> None:
    give_back_at("publishing")
    job = _run(ask(kind))
    lose(job)
    _run(job)
    assert (job.state, job.error_code) == ("failed", "worker_lost")
    assert len(drawn) == 1
    fresh = services.run_again(job=job, by=steward)
    assert _run(fresh).state == "succeeded", fresh.trace or fresh.message
    assert fresh.spec == job.spec
    assert (_charges(job, model_version), _charges(fresh, model_version)) == (1, 1)


def test_an_assessment_without_a_model_is_not_asked_for_again(
    ask: Callable[[str], Job], steward: Any
) -> None:
    job = services.request_cancel(job=ask("assess"), by=steward)
    job.spec["run"] = str(job.pk)
    with pytest.raises(Conflict, match="not made"):
        services.run_again(job=job, by=steward)


def test_a_cancelled_export_is_made_again(model_version: Any, steward: Any) -> None:
    from privacyhub.training import exports

    job = exports.request(model_version=model_version, form="onnx", by=steward).job
    assert job is not None
    services.request_cancel(job=job, by=steward)
    job.refresh_from_db()
    fresh = services.run_again(job=job, by=steward)
    assert (fresh.kind, fresh.spec, fresh.pk != job.pk) == ("export", job.spec, True)
    assert services.run_again(job=job, by=steward) == fresh  # one at work is joined


@pytest.mark.parametrize("kind", ["ingest", "predict"])
def test_a_job_of_an_upload_says_to_upload_again(kind: str) -> None:
    job = Job(kind=kind, state="failed")
    with pytest.raises(NotRepeatable, match="upload it again"):
        services.run_again(job=job, by=None)


def test_every_other_kind_runs_again() -> None:
    without = {name for name in registry.kinds() if not registry.kind(name).again_path}
    assert without == {"ingest", "predict"}
