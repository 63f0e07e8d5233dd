"""Erasure: keys and files go, ledger and audit trail stay."""

from __future__ import annotations

from typing import Any

import pytest

from privacyhub.datasets import erasure, intake, reads, services, tables
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.governance import audit
from privacyhub.governance.keys import KeyDestroyed
from privacyhub.governance.models import AuditEvent, LedgerEntry
from tests.integration.datasets.conftest import ROWS


def test_erase_destroys_keys_and_keeps_history(
    steward: Any, anonymized: Any, store: Any, api_for: Any
) -> None:
    dataset = anonymized.dataset
    client = api_for(steward)
    lines, events = LedgerEntry.objects.count(), AuditEvent.objects.count()
    path = f"/api/v1/datasets/{dataset.pk}/erase/"
    told = client.get(path).json()
    assert len(told["versions"]) == 2
    answer = client.post(path, {"confirm": dataset.name}, format="json")
    assert answer.status_code == 200, answer.content
    for version in dataset.versions.all():
        assert version.erased_at is not None
        with pytest.raises(KeyDestroyed):
            tables.load(version)
        with pytest.raises(KeyDestroyed):
            tables.profile(version)
        assert version.file not in {f"tables/{path.name}" for path in store()}
    assert LedgerEntry.objects.count() == lines
    assert AuditEvent.objects.count() == events + 1
    assert audit.first_bad_row() is None
    again = client.post(path, {"confirm": dataset.name}, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "erased")


def test_erased_versions_take_no_work(steward: Any, taken_in: Any, send: Any) -> None:
    version = taken_in(steward)
    dataset = version.dataset
    erasure.erase(dataset=dataset, by=steward, confirm=dataset.name, with_models=False)
    version.refresh_from_db()
    for work in (
        lambda: services.set_columns(version=version, changes={}, by=steward),
        lambda: reads.preview(version=version, by=steward),
        lambda: reads.download(version=version, by=steward, form="csv"),
        lambda: services.declare_budget(
            version=version, by=steward, declared_units=5, epsilon_cap="1"
        ),
    ):
        with pytest.raises(Conflict):
            work()
    path = f"/api/v1/datasets/{dataset.pk}/refresh/"
    assert send(steward, ROWS, path=path).status_code == 409


def test_erase_needs_the_name_and_no_open_job(
    steward: Any, taken_in: Any, upload_file: Any
) -> None:
    version = taken_in(steward)
    dataset = version.dataset

    def erase(confirm: str) -> None:
        erasure.erase(dataset=dataset, by=steward, confirm=confirm, with_models=True)

    with pytest.raises(DataError):
        erase("another")
    intake.take_in(file=upload_file(ROWS), by=steward, dataset=dataset)
    with pytest.raises(Conflict):
        erase(dataset.name)
    assert tables.load(version).height == 60


def test_refresh_that_was_queued_is_not_published_after_erasure(
    steward: Any, taken_in: Any, upload_file: Any, run_jobs: Any, store: Any
) -> None:
    version = taken_in(steward)
    dataset = version.dataset
    job = intake.take_in(file=upload_file(ROWS), by=steward, dataset=dataset)
    type(dataset).objects.filter(pk=dataset.pk).update(erased_at=version.created_at)
    before = store()
    run_jobs()
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "erased")
    assert store() < before
    assert dataset.versions.count() == 1
