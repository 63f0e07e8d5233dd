"""What a lost worker, a deadlock or an erasure may not do or leave."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from jobs import execution, registry
from jobs import services as jobs
from jobs.models import Job
from jobs.states import StaleAttempt, TooManyJobs
from jobs.tasks.train import _pay
from privacyhub.datasets import erasure, intake, services, storage, sweeping, tables
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.models import Upload, VersionKind
from privacyhub.deployments import batches
from privacyhub.engines.tables import StoreError, to_csv
from privacyhub.governance import audit, backups, entries, keys, ledger
from privacyhub.governance.keys import KeyDestroyed
from privacyhub.governance.ledger import LedgerError
from privacyhub.governance.models import DataKey
from privacyhub.training import recipes
from privacyhub.training import services as training

DAY = 86_400


def test_stale_attempt_charges_nothing(register_version: Any, steward: Any) -> None:
    recipe = recipes.build(
        version=register_version,
        request={"epsilon": "1"},
        by=register_version.created_by,
    )
    run = training.submit(version=register_version, recipe=recipe, by=steward, name="x")
    job = jobs.claim(job_id=run.job_id, worker="lost")
    assert job is not None
    Job.objects.filter(pk=job.pk).update(attempt=job.attempt + 1)  # as the reaper does
    price = training.plan_of(run).training_price
    before = services.the_ledger(register_version).spent_train
    with pytest.raises(StaleAttempt):
        _pay(execution.Attempt(job), price.event, note="late")
    assert services.the_ledger(register_version).spent_train == before


@pytest.mark.parametrize(
    ("error", "code"),
    [(Conflict("Gone.", code="erased"), "erased"), (LedgerError("Gone."), "ledger")],
)
def test_refusal_while_publishing_is_no_bug(
    error: Exception, code: str, steward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(attempt: execution.Attempt) -> Callable[[], dict[str, Any]]:
        def publish() -> dict[str, Any]:
            raise error

        return publish

    monkeypatch.setattr("jobs.tasks.nothing.run", run)
    job = jobs.submit(kind="nothing", title="x", owner=steward, spec={"schema": 1})
    execution.execute(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.error_code, job.message) == ("failed", code, "Gone.")
    assert job.trace == ""


def test_table_survives_a_deadlock_and_no_other_failure(register_version: Any) -> None:
    frame = tables.load(register_version)
    written = tables.write_frame(frame)
    with pytest.raises(OperationalError), tables.publishing(written):
        raise OperationalError("deadlock detected")
    assert storage.path_of(written.file).exists()
    with pytest.raises(Conflict), tables.publishing(written):
        raise Conflict("Gone.")
    assert not storage.path_of(written.file).exists()


def test_erasure_takes_the_prediction_files_with_the_models(
    owned: dict[str, Any], steward: Any
) -> None:
    batch = owned["prediction-batches"]
    file, key = batches._seal(batches.result_table(ids=[], outputs=[]))
    batch.file, batch.key = file, key
    batch.save()
    for job in Job.objects.open():
        jobs.request_cancel(job=job, by=steward)
    dataset = owned["datasets"]
    erasure.erase(dataset=dataset, by=steward, confirm=dataset.name, with_models=True)
    batch.refresh_from_db()
    with pytest.raises(KeyDestroyed):
        keys.unwrap(batch.key)
    with pytest.raises(KeyDestroyed):
        batches.download(batch=batch, by=steward)


@pytest.mark.parametrize("with_models", [True, False])
def test_restore_marks_what_it_erases_again(
    with_models: bool,
    owned: dict[str, Any],
    steward: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:
    for job in Job.objects.open():
        jobs.request_cancel(job=job, by=steward)
    dataset, version = owned["datasets"], owned["versions"]
    model = owned["model-versions"]
    older = list(DataKey.objects.filter(pk__in=[version.key_id, model.key_id]))
    with django_capture_on_commit_callbacks(execute=True):
        erasure.erase(
            dataset=dataset, by=steward, confirm=dataset.name, with_models=with_models
        )
    for row in (*older, dataset, version, model):  # as an older backup has them
        row.save()
    assert backups._destroy_again() == (2 if with_models else 1)
    for row in (dataset, version, model):
        row.refresh_from_db()
    assert dataset.erased_at is not None
    assert version.erased_at is not None
    assert (model.erased_at is not None) == with_models
    with pytest.raises(Conflict):
        services.require_open(version)


def test_cancelled_prediction_forgets_its_file(
    owned: dict[str, Any], steward: Any
) -> None:
    batch = owned["prediction-batches"]
    jobs.request_cancel(job=batch.job, by=steward)
    upload = Upload.objects.select_related("key").get(pk=batch.upload_id)
    with pytest.raises(KeyDestroyed):
        keys.unwrap(upload.key)


def test_refused_prediction_forgets_its_file(
    model_version: Any, steward: Any, upload_file: Callable[..., Any], settings: Any
) -> None:
    settings.MAX_JOBS_PER_USER = 0
    with pytest.raises(TooManyJobs):
        batches.submit(
            model_version=model_version, file=upload_file(b"age\n50\n"), by=steward
        )
    assert not Upload.objects.filter(key__destroyed_at=None).exists()


def test_old_uploads_that_no_job_reads_are_forgotten(
    owned: dict[str, Any], steward: Any, upload_file: Callable[..., Any]
) -> None:
    queued = owned["prediction-batches"].upload
    old, young = (
        intake.receive(file=upload_file(b"age\n50\n"), by=steward) for _ in range(2)
    )
    past = timezone.now() - timedelta(days=2)
    Upload.objects.filter(pk__in=[old.pk, queued.pk]).update(created_at=past)
    assert sweeping.forget_left_uploads() == 1
    assert sweeping.forget_left_uploads() == 0
    living = Upload.objects.filter(key__destroyed_at=None)
    assert set(living) == {young, queued}


def test_sweep_takes_old_files_that_nothing_names(register_version: Any) -> None:
    names = [storage.new_name("tables", "parquet") for _ in range(2)]
    old, young = (storage.path_of(name) for name in names)
    kept = storage.path_of(register_version.file)
    for path in (old, young):
        path.write_bytes(b"left by a killed job")
    past = time.time() - 2 * DAY
    for path in (old, kept):
        os.utime(path, (past, past))
    assert sweeping.sweep() >= 1
    assert (old.exists(), young.exists(), kept.exists()) == (False, True, True)
    young.unlink()


def test_sweep_is_done_by_the_keeper() -> None:
    assert sweeping.sweep in registry._tidying_hooks
    assert sweeping.forget_left_uploads in registry._tidying_hooks


def test_changed_file_is_refused_with_a_reason(
    register_version: Any, steward: Any, api_for: Callable[..., Any]
) -> None:
    path = storage.path_of(register_version.file)
    whole = path.read_bytes()
    address = f"/api/v1/versions/{register_version.pk}/preview/"
    for content in (whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], whole[:-9]):
        path.write_bytes(content)
        with pytest.raises(StoreError):
            tables.load(register_version)
        answer = api_for(steward).get(address)
        assert (answer.status_code, answer.json()["code"]) == (409, "damaged")


def test_missing_model_file_is_refused_with_a_reason(
    owned: dict[str, Any], steward: Any, api_for: Callable[..., Any]
) -> None:
    answer = api_for(steward).get(
        f"/api/v1/model-versions/{owned['model-versions'].pk}/file/"
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "model_damaged")


class Locks:
    """Notes in which order ledgers and the audit trail's head are locked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held: set[Any] = set()
        self.late: list[Any] = []
        self.audited = False
        self._locked, self._record = entries.locked, audit.record
        for place in ("entries", "ledger", "caps"):
            monkeypatch.setattr(f"privacyhub.governance.{place}.locked", self._lock)
        monkeypatch.setattr("privacyhub.governance.audit.record", self._note)

    def _lock(self, ledgers: Any) -> Any:
        rows = self._locked(ledgers)
        fresh = {row.pk for row in rows} - self.held
        if self.audited:
            self.late += fresh
        self.held |= fresh
        return rows

    def _note(self, **line: Any) -> Any:
        self.audited = True
        return self._record(**line)


def test_ledgers_are_locked_before_the_trail_when_a_version_is_shared(
    register_version: Any, steward: Any, analyst: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_version.kind = VersionKind.ANONYMIZED
    register_version.save()
    locks = Locks(monkeypatch)
    services.share(target=register_version, user=analyst, right="view", by=steward)
    assert (locks.audited, len(locks.held), locks.late) == (True, 1, [])


def test_ledgers_are_locked_before_the_trail_when_jobs_end(
    register_version: Any, steward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = jobs.submit(
        kind="nothing",
        title="x",
        owner=steward,
        spec={"schema": 1, "dataset": str(register_version.dataset_id)},
    )
    recipe = recipes.build(
        version=register_version,
        request={"epsilon": "1"},
        by=register_version.created_by,
    )
    run = training.submit(version=register_version, recipe=recipe, by=steward, name="x")
    Job.objects.filter(pk=run.job_id).update(depends_on=first)
    locks = Locks(monkeypatch)
    jobs.request_cancel(job=first, by=steward)
    run.job.refresh_from_db()
    assert run.job.state == "failed"
    assert (locks.audited, len(locks.held), locks.late) == (True, 1, [])
    assert ledger.balance(services.the_ledger(register_version)).reserved == 0


def test_sheet_runs_no_formula_of_a_prediction() -> None:
    output = {
        "label": "=1+1",
        "probability": 1.0,
        "probabilities": {"=1+1": 1.0},
    }
    text = b"".join(to_csv(batches.result_table(ids=[uuid.uuid4()], outputs=[output])))
    assert b",'=1+1," in text
