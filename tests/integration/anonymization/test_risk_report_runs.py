"""Large tables: their risk report is made by jobs, kept, and shown again."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from django.urls import reverse

from jobs import services as jobs
from jobs.models import Job
from jobs.states import JobCancelled
from privacyhub.anonymization import hierarchies, risk_report, risk_report_runs
from privacyhub.anonymization.models import RiskReportRun
from privacyhub.datasets import erasure, tables
from privacyhub.datasets.errors import Conflict
from privacyhub.governance.models import AuditEvent, EntryKind, LedgerEntry

pytestmark = pytest.mark.django_db
QUASI = ["birth_date", "zip", "sex", "occupation"]
PARTS = {
    "risk-report": {"column": QUASI, "threshold": 0.5},
    "quasi-identifiers": {"column": QUASI},
    "safe-harbor": {},
}


@pytest.fixture
def bound(settings: Any) -> Any:
    """Sets the rows above which a job does it; the register has 600."""

    def to(rows: int) -> None:
        settings.RISK_REPORT_ROWS = rows

    return to


def reads() -> list[str]:
    entries = LedgerEntry.objects.filter(kind=EntryKind.STEWARD_READ)
    return list(entries.order_by("id").values_list("purpose", flat=True))


@pytest.mark.parametrize("part", list(PARTS))
def test_a_job_finds_what_a_small_table_is_told_at_once(
    register_version: Any,
    policy: Any,
    steward: Any,
    api_for: Any,
    run_jobs: Any,
    bound: Any,
    part: str,
) -> None:
    where = f"/api/v1/versions/{register_version.pk}/{part}/"
    api = api_for(steward)
    bound(600)
    at_once = api.get(where, PARTS[part])
    assert at_once.status_code == 200
    assert not Job.objects.filter(kind="risk_report").exists()
    bound(599)
    before = reads()
    queued = api.get(where, PARTS[part])
    assert queued.status_code == 202
    job = Job.objects.get(kind="risk_report")
    assert (job.queue, job.result) == ("data", {})
    assert queued["Location"] == f"/api/v1/jobs/{job.pk}/"
    again = api.get(where, PARTS[part])  # the one at work is joined
    assert again.data == queued.data
    assert reads() == before
    run_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded", job.trace or job.message
    assert len(reads()) == len(before) + 1
    assert reads()[-1].startswith("risk report: ")
    assert LedgerEntry.objects.latest("id").run_id == job.pk
    kept = api.get(where, PARTS[part])
    assert kept.status_code == 200
    assert kept.json() == at_once.json()
    assert len(reads()) == len(before) + 1
    looks = AuditEvent.objects.filter(action="version.risk_report")
    assert looks.count() == 2  # at once, and at what was kept
    assert Job.objects.filter(kind="risk_report").count() == 1
    other = api.get(where, {"column": ["sex"]})
    assert other.status_code == (200 if part == "safe-harbor" else 202)


def test_a_release_is_large_where_its_source_is(
    released: Any,
    steward: Any,
    run_jobs: Any,
    api_for: Any,
    client_for: Any,
    bound: Any,
) -> None:
    where = f"/api/v1/versions/{released.release_id}/risk-report/"
    at_once = api_for(steward).get(where).json()
    bound(599)
    assert api_for(steward).get(where).status_code == 202
    run_jobs()
    kept = api_for(steward).get(where).json()
    assert kept == at_once
    assert kept["before"]["rows"] == 600
    run = RiskReportRun.objects.get()
    assert run.version_id == released.release_id
    released.release.rows = 10  # of a subset of the rows
    assert risk_report_runs.is_large(released.release)
    elsewhere = reverse("web:risk_run", args=[released.version_id, run.pk])
    assert client_for(steward).get(elsewhere).status_code == 404


def test_the_page_polls_and_shows_what_was_found_again(
    register_version: Any,
    policy: Any,
    steward: Any,
    other_steward: Any,
    auditor: Any,
    client_for: Any,
    run_jobs: Any,
    bound: Any,
) -> None:
    client = client_for(steward)
    page = reverse("web:risk_report", args=[register_version.pk])
    at_once = 'hx-trigger="load, change from:#known'
    assert at_once in client.get(page).content.decode()
    bound(10)
    fresh = client.get(page).content.decode()
    assert "counted by a job" in fresh
    assert at_once not in fresh
    assert 'hx-trigger="load"' not in fresh
    for name, data, says in (
        ("risk_measured", {"known": QUASI}, "Prosecutor"),
        ("risk_finder", {"looked_at": QUASI}, "Distinction"),
        ("risk_safe_harbor", {}, "mail address"),
    ):
        where = reverse(f"web:{name}", args=[register_version.pk])
        waiting = client.post(where, data).content.decode()
        run = RiskReportRun.objects.latest("created_at")
        live = reverse("web:risk_run", args=[register_version.pk, run.pk])
        assert f'hx-get="{live}" hx-trigger="every 2s"' in waiting
        assert reverse("web:job_cancel", args=[run.job_id]) in waiting
        assert "Waiting for a worker" in client.get(live).content.decode()
        run_jobs()
        done = client.get(live).content.decode()
        assert says in done
        assert "every 2s" not in done
        assert says in client.post(where, data).content.decode()
        shown = client.get(page).content.decode()
        assert f'hx-get="{live}" hx-trigger="load"' in shown
        assert client_for(auditor).get(live).status_code == 403
        assert client_for(other_steward).get(live).status_code == 404
        job = client.get(reverse("web:job", args=[run.job_id])).content.decode()
        assert f'href="{page}"' in job
    assert RiskReportRun.objects.count() == 3
    assert "of birth_date, zip, sex, occupation" in client.get(page).content.decode()


def test_a_cancelled_count_can_be_asked_for_again(
    register_version: Any,
    policy: Any,
    steward: Any,
    client_for: Any,
    run_jobs: Any,
    bound: Any,
) -> None:
    bound(10)
    client = client_for(steward)
    where = reverse("web:risk_finder", args=[register_version.pk])
    client.post(where, {"looked_at": QUASI})
    run = RiskReportRun.objects.get()
    jobs.request_cancel(job=run.job, by=steward)
    live = reverse("web:risk_run", args=[register_version.pk, run.pk])
    ended = client.get(live).content.decode()
    assert "It ended without a result" in ended
    assert "every 2s" not in ended
    assert (
        risk_report_runs.latest(version=register_version, part=risk_report.Part.FINDER)
        is None
    )
    run.job.refresh_from_db()
    fresh = jobs.run_again(job=run.job, by=steward)
    run_jobs()
    again = RiskReportRun.objects.get(job=fresh)
    assert again.asked == run.asked
    assert again.result["columns"] == QUASI
    assert "Distinction" in client.post(where, {"looked_at": QUASI}).content.decode()
    assert RiskReportRun.objects.count() == 2


def test_what_is_kept_is_the_answer(register_version: Any, policy: Any) -> None:
    asked = risk_report.asked_of(register_version)
    report = asked.answered(register_version)
    assert asked.restored(json.loads(json.dumps(asked.kept(report)))) == report
    looked_at = risk_report.looked_at_of(register_version, columns=QUASI)
    found = looked_at.answered(register_version)
    kept = looked_at.restored(json.loads(json.dumps(looked_at.kept(found))))
    assert kept.by_size == found.by_size
    assert kept.column_share == found.column_share


def test_every_step_of_a_count_can_stop_it(
    register_version: Any, policy: Any, steward: Any
) -> None:
    questions = (
        risk_report.asked_of(register_version),
        risk_report.looked_at_of(register_version, columns=QUASI),
        risk_report.SafeHarbor(),
    )
    for question in questions:
        told: list[tuple[int, int]] = []
        question.answered(
            register_version, progress=lambda done, of, t=told: t.append((done, of))
        )
        total = told[0][1]
        assert told == [(done, total) for done in range(total)]

        def stop(done: int, of: int) -> None:
            raise JobCancelled

        with pytest.raises(JobCancelled):
            question.answered(register_version, progress=stop)


def test_a_job_looks_at_larger_sets_than_a_page(
    register_version: Any, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = risk_report.looked_at_of(register_version, columns=QUASI)
    monkeypatch.setattr(risk_report, "MOST_CELLS", 600 * 4)
    assert question.answered(register_version).largest == 1
    found = question.answered(register_version, progress=lambda *_: None)
    assert found.largest == 3


def test_what_was_counted_goes_with_the_version(
    register_version: Any,
    policy: Any,
    steward: Any,
    client_for: Any,
    run_jobs: Any,
    bound: Any,
) -> None:
    bound(10)
    client = client_for(steward)
    where = reverse("web:risk_safe_harbor", args=[register_version.pk])
    client.post(where)
    run = RiskReportRun.objects.get()
    dataset = register_version.dataset
    asked: dict[str, Any] = {"dataset": dataset, "by": steward, "with_models": False}
    with pytest.raises(Conflict, match="queued or running"):
        erasure.erase(**asked, confirm=dataset.name)
    run_jobs()
    live = reverse("web:risk_run", args=[register_version.pk, run.pk])
    assert "mail address" in client.get(live).content.decode()
    erasure.erase(**asked, confirm=dataset.name)
    assert "mail address" not in client.get(live).content.decode()
    assert "mail address" not in client.post(where).content.decode()


def test_the_live_risk_of_a_large_table_points_to_the_report(
    register_version: Any, policy: Any, steward: Any, client_for: Any, bound: Any
) -> None:
    where = reverse("web:anonymize_risk", args=[register_version.pk])
    client = client_for(steward)
    assert "standing alone" in client.post(where, {"known": QUASI}).content.decode()
    bound(10)
    before = reads()
    text = client.post(where, {"known": QUASI}).content.decode()
    assert "600 rows is not counted while you wait" in text
    assert reverse("web:risk_report", args=[register_version.pk]) in text
    assert reads() == before


def test_a_preview_reads_one_column_and_keeps_its_values_once(
    register_version: Any, policy: Any, steward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    batches = tables.batches

    def spied(version: Any, columns: Any = None) -> Any:
        read.append(list(columns))
        return batches(version, columns)

    monkeypatch.setattr(tables, "batches", spied)
    values = hierarchies.column_values(
        version=register_version, column="occupation", by=steward, action="preview"
    )
    assert read == [["occupation"]]
    assert isinstance(values.dtype, pl.Enum)
    found = hierarchies.preview(
        version=register_version,
        column="zip",
        hierarchy="automatic",
        by=steward,
    )
    assert found.values == tables.load(register_version)["zip"].n_unique()
