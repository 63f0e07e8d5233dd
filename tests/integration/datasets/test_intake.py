"""From an uploaded file to a version: CSV, Parquet, sample, refresh, seams."""

from __future__ import annotations

from typing import Any

import pytest

from jobs import execution
from jobs.models import Job
from jobs.services import request_cancel
from privacyhub.datasets import intake, services
from privacyhub.datasets.models import Dataset, Upload, Version
from privacyhub.governance.models import AuditEvent, DataKey, Ledger, LedgerEntry
from tests.integration.datasets.conftest import ROWS


def test_upload_becomes_a_version_with_columns_profile_and_ledger(
    steward: Any, taken_in: Any
) -> None:
    version = taken_in(steward, name="people.csv", purpose="testing")
    assert (version.rows, version.columns_count, version.number) == (60, 3, 1)
    assert version.dataset.name == "people.csv"
    roles = {column.name: column.role for column in version.columns.all()}
    assert roles["name"] == "identifier"
    assert roles["age"] == "quasi_identifier"
    assert services.profile(version=version, by=steward).column("age").minimum == 20
    account = services.the_ledger(version)
    assert not account.is_declared
    kinds = set(LedgerEntry.objects.values_list("kind", flat=True))
    assert kinds == {"steward_read"}
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"upload.receive", "job.submit", "version.publish"} <= actions


def test_upload_key_is_destroyed_and_file_gone_once_read(
    steward: Any, taken_in: Any, store: Any
) -> None:
    before = store()
    version = taken_in(steward)
    upload = Upload.objects.get()
    assert upload.key.wrapped is None
    assert {path.name for path in store() - before} == {version.file.split("/")[1]}


def test_csv_and_parquet_of_the_same_rows_share_fingerprint_and_ledger(
    steward: Any, other_steward: Any, taken_in: Any, parquet: Any
) -> None:
    first = taken_in(steward, ROWS, "t.csv")
    second = taken_in(other_steward, parquet(ROWS), "t.parquet")
    assert first.fingerprint == second.fingerprint
    assert set(first.ledgers.all()) == set(second.ledgers.all())
    assert Ledger.objects.count() == 1
    assert first.dataset_id != second.dataset_id


def test_rows_of_a_later_version_meet_its_ledger_too(
    steward: Any, other_steward: Any, taken_in: Any
) -> None:
    first = taken_in(steward)
    refreshed = ROWS + b"Person 60,30,yes\n"
    path = f"/api/v1/datasets/{first.dataset_id}/refresh/"
    taken_in(steward, refreshed, path=path)
    foreign = taken_in(other_steward, refreshed)
    assert set(foreign.ledgers.all()) == set(first.ledgers.all())


def _people(numbers: range) -> bytes:
    rows = (b"Person %d,%d\n" % (n, 20 + n % 50) for n in numbers)
    return b"name,age\n" + b"".join(rows)


@pytest.mark.parametrize(
    "near",
    [range(201), range(1, 200), range(100, 300), range(175, 200), range(199, -1, -1)],
    ids=["a row more", "a row less", "half of it", "a part", "turned round"],
)
def test_table_with_rows_of_another_spends_from_its_ledger(
    steward: Any, other_steward: Any, taken_in: Any, near: range
) -> None:
    before = taken_in(steward, _people(range(200)))
    after = taken_in(other_steward, _people(near), name="u.csv")
    assert after.dataset != before.dataset
    assert list(after.ledgers.all()) == list(before.ledgers.all())
    assert "known_rows" in {one["code"] for one in after.checks}


def test_tables_that_meet_by_chance_have_ledgers_of_their_own(
    steward: Any, taken_in: Any
) -> None:
    before = taken_in(steward, _people(range(200)))
    after = taken_in(steward, _people(range(190, 400)), name="u.csv")
    assert set(after.ledgers.all()).isdisjoint(before.ledgers.all())
    assert "known_rows" not in {one["code"] for one in after.checks}


def test_refresh_keeps_roles_and_declarations(steward: Any, taken_in: Any) -> None:
    first = taken_in(steward)
    services.set_columns(
        version=first,
        by=steward,
        changes={"sick": {"is_target": True}, "age": {"lower": 0.0, "upper": 99.0}},
    )
    path = f"/api/v1/datasets/{first.dataset_id}/refresh/"
    second = taken_in(steward, ROWS + b"Person 60,30,yes\n", path=path)
    assert second.number == 2
    assert second.dataset_id == first.dataset_id
    assert second.target is not None
    assert second.target.name == "sick"
    assert second.columns.get(name="age").upper == 99.0


def test_refresh_refuses_a_column_that_vanished(
    steward: Any, taken_in: Any, send: Any, store: Any
) -> None:
    first = taken_in(steward)
    before = store()
    path = f"/api/v1/datasets/{first.dataset_id}/refresh/"
    answer = send(steward, b"name,age\nA,1\n", path=path)
    assert answer.status_code == 409
    assert answer.json()["code"] == "column_vanished"
    assert answer.json()["column"] == "sick"
    assert store() == before
    assert Job.objects.count() == 1


def test_refresh_refuses_a_column_of_another_kind(
    steward: Any, taken_in: Any, send: Any, run_jobs: Any, store: Any
) -> None:
    first = taken_in(steward)
    before = store()
    path = f"/api/v1/datasets/{first.dataset_id}/refresh/"
    answer = send(steward, b"name,age,sick\nA,Zanzibar,yes\nB,x,no\n", path=path)
    run_jobs()
    job = Job.objects.get(pk=answer.json()["job"])
    assert (job.state, job.error_code) == ("failed", "column_kind")
    assert "age" in job.message
    assert "Zanzibar" not in job.message
    assert store() == before
    assert Version.objects.count() == 1


def test_sample_comes_in_like_any_file(steward: Any, run_jobs: Any) -> None:
    job = intake.load_sample(by=steward)
    run_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded", job.message or job.trace
    version = Version.objects.get(pk=job.result["version"])
    assert version.rows == 20_000
    assert version.columns.get(name="email").role == "identifier"


def test_same_idempotency_key_makes_one_job(steward: Any, api_for: Any) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    def post(content: bytes) -> Any:
        return api_for(steward).post(
            "/api/v1/datasets/",
            {"file": SimpleUploadedFile("t.csv", content)},
            format="multipart",
            HTTP_IDEMPOTENCY_KEY="once",
        )

    first, again = post(ROWS), post(ROWS)
    assert first.json() == again.json()
    assert again.headers["Location"] == f"/api/v1/jobs/{first.json()['job']}/"
    assert Job.objects.count() == 1
    assert Upload.objects.count() == 1
    other = post(ROWS + b"A,1,no\n")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


def test_cancelled_upload_is_forgotten(steward: Any, send: Any, store: Any) -> None:
    before = store()
    answer = send(steward, ROWS)
    request_cancel(job=Job.objects.get(pk=answer.json()["job"]), by=steward)
    assert Upload.objects.get().key.wrapped is None
    assert store() == before


def test_crash_in_the_middle_leaves_nothing_readable(
    steward: Any, send: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = send(steward, ROWS)
    before = store()

    def killed(*_: Any, **__: Any) -> None:
        raise SystemExit  # as a kill would: no handler of the job runs

    monkeypatch.setattr("jobs.tasks.ingest._described", killed)
    monkeypatch.setattr("privacyhub.datasets.tables.discard", lambda _: None)
    with pytest.raises(SystemExit):
        execution.execute(answer.json()["job"])
    left = store() - before
    assert len(left) == 1  # the table was on the disk, and its key only in memory
    assert not DataKey.objects.filter(purpose="version").exists()
    assert not Dataset.objects.exists()
    assert b"Person" not in left.pop().read_bytes()


def test_bug_in_the_middle_removes_table_and_upload(
    steward: Any, send: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store()
    answer = send(steward, ROWS)

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("jobs.tasks.ingest.identifiers.suggest_roles", broken)
    execution.execute(answer.json()["job"])
    job = Job.objects.get(pk=answer.json()["job"])
    assert (job.state, job.error_code) == ("failed", "bug")
    assert store() == before
    assert not DataKey.objects.exclude(wrapped=None).exists()


def test_analyst_auditor_and_admin_upload_nothing(
    analyst: Any, auditor: Any, admin: Any, send: Any, store: Any
) -> None:
    before = store()
    for user in (analyst, auditor, admin):
        assert send(user, ROWS).status_code == 403
    assert store() == before
    assert not Job.objects.exists()


def test_read_only_token_uploads_nothing(
    steward: Any, api_for: Any, store: Any
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    before = store()
    file = SimpleUploadedFile("t.csv", ROWS)
    client = api_for(steward, "read")
    answer = client.post("/api/v1/datasets/", {"file": file}, format="multipart")
    assert answer.status_code == 403
    assert store() == before


def test_file_that_no_view_wanted_is_removed(
    steward: Any, api_for: Any, register_version: Any, store: Any
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    before = store()
    path = f"/api/v1/datasets/{register_version.dataset_id}/share/"
    body = {"file": SimpleUploadedFile("t.csv", ROWS), "user": "nobody"}
    answer = api_for(steward).post(path, body, format="multipart")
    assert answer.status_code == 400
    assert store() == before


def test_stranger_sends_no_file_to_a_page(db: None, client: Any, store: Any) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    before = store()
    answer = client.post(
        "/datasets/upload/",
        {"file": SimpleUploadedFile("t.csv", ROWS)},
        HTTP_AUTHORIZATION="Bearer made-up",
    )
    assert answer.status_code in {302, 400}
    assert store() == before


def test_upload_larger_than_the_limit_is_refused(
    steward: Any, send: Any, store: Any, settings: Any
) -> None:
    settings.MAX_UPLOAD_BYTES = 100
    before = store()
    answer = send(steward, ROWS)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert store() == before
