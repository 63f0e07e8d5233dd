"""The board, a job's page, the bell and REST: what is shown, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from jobs import overview, services, workers
from jobs.models import Job, Worker

Submit = Callable[..., Job]


def test_board_takes_as_many_queries_for_many_jobs_as_for_few(
    submit: Submit, steward: Any, client_for: Any, settings: Any
) -> None:
    settings.MAX_JOBS_PER_USER = 100
    client = client_for(steward)
    submit()
    client.get("/jobs/")
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get("/jobs/")
    for _ in range(40):
        submit()
    with CaptureQueriesContext(connection) as many:
        page = client.get("/jobs/")
    assert len(many) == len(few)
    assert b"Page 1 of 2" in page.content


def test_board_filters_by_state_and_kind(
    submit: Submit, running: Job, steward: Any, client_for: Any
) -> None:
    Job.objects.filter(pk=running.pk).update(title="Runs now")
    submit(title="Waits still", kind="ingest")
    client = client_for(steward)
    page = client.get("/jobs/?tab=running").content
    assert b"Runs now" in page
    assert b"Waits still" not in page
    page = client.get("/jobs/?kind=ingest").content
    assert b"Waits still" in page
    assert b"Runs now" not in page


def test_job_page_polls_until_the_job_ends(
    running: Job, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    live = f"/jobs/{running.pk}/live/"
    services.report(
        job=running, stage="step 3 of 9", done=3, total=9, epsilon_spent="1"
    )
    page = client.get(live).content.decode()
    assert f'hx-get="{live}"' in page
    assert "step 3 of 9" in page.lower()
    assert "73.1 of 100" in page
    services.finish(job=running, publish=dict)
    page = client.get(live).content.decode()
    assert "hx-get" not in page
    assert "data-announce" in page


def test_job_page_says_when_no_worker_runs(
    submit: Submit, steward: Any, client_for: Any
) -> None:
    job, client = submit(), client_for(steward)
    assert b"No worker is running" in client.get(f"/jobs/{job.pk}/").content
    Worker.objects.create(name="here:1", queues="light")
    assert b"No worker is running" not in client.get(f"/jobs/{job.pk}/").content


def test_a_job_is_its_owners_and_for_auditors_to_read(
    submit: Submit,
    steward: Any,
    other_steward: Any,
    analyst: Any,
    auditor: Any,
    client_for: Any,
    api_for: Any,
) -> None:
    job = submit()
    for user, seen, done in (
        (other_steward, 404, 404),
        (analyst, 404, 404),
        (auditor, 200, 403),
    ):
        client, api = client_for(user), api_for(user)
        assert client.get(f"/jobs/{job.pk}/").status_code == seen
        assert client.post(f"/jobs/{job.pk}/cancel/").status_code == done
        assert api.get(f"/api/v1/jobs/{job.pk}/").status_code == seen
        assert api.post(f"/api/v1/jobs/{job.pk}/cancel/").status_code == done
        assert api.post(f"/api/v1/jobs/{job.pk}/again/").status_code == done
    job.refresh_from_db()
    assert job.state == "queued"
    assert client_for(steward).get(f"/jobs/{job.pk}/cancel/").status_code == 405


def test_a_trace_is_for_auditors_and_admins(
    running: Job, steward: Any, auditor: Any, admin: Any, client_for: Any
) -> None:
    services.fail(job=running, code="bug", message="It broke.", trace="the trace")
    path = f"/jobs/{running.pk}/trace/"
    assert client_for(steward).get(path).status_code == 403
    assert b"the trace" not in client_for(steward).get(f"/jobs/{running.pk}/").content
    for user in (auditor, admin):
        assert b"the trace" in client_for(user).get(path).content


def test_board_shows_what_is_stuck_and_how_deep_the_queues_are(
    submit: Submit, running: Job, steward: Any, analyst: Any, client_for: Any
) -> None:
    Job.objects.filter(pk=running.pk).update(
        title="Lost its worker", lease_until=timezone.now() - timedelta(minutes=1)
    )
    submit(title="Waits still", kind="ingest")
    client = client_for(steward)
    page = client.get("/jobs/?tab=stuck").content
    assert b"Lost its worker" in page
    assert b"Waits still" not in page
    assert b"Queues, over all users" in page
    page = client.get("/jobs/?queue=data").content
    assert b"Waits still" in page
    assert b"Lost its worker" not in page
    assert b"Queues, over all users" not in client_for(analyst).get("/jobs/").content


def test_rest_tells_the_queues_and_workers(
    submit: Submit, running: Job, steward: Any, analyst: Any, api_for: Any
) -> None:
    workers.say_that_it_lives(name="one:1", queues="data,light", children=3)
    Job.objects.filter(pk=running.pk).update(worker="one:1:77")
    submit(kind="ingest")
    services.fail(job=running, code="broken", message="It broke.")
    waits = services.claim(job_id=submit().pk, worker="one:1:78")
    assert waits is not None
    submit(depends_on=waits)
    told = api_for(steward).get("/api/v1/queues/").json()
    light, data, train = told["queues"]
    assert (light["queued"], light["running"], light["waits_for_others"]) == (1, 1, 1)
    assert (light["failed_hour"], light["failed_day"], light["stuck"]) == (1, 1, 0)
    assert (data["queued"], data["workers"], data["children"]) == (1, 1, 3)
    assert data["oldest_wait"] >= 0
    assert train["workers"] == 0
    assert told["workers"][0]["running"] == 1
    assert api_for(analyst).get("/api/v1/queues/").status_code == 403


def test_overview_takes_as_many_queries_for_many_jobs_as_for_few(
    submit: Submit, django_assert_num_queries: Any, settings: Any
) -> None:
    settings.MAX_JOBS_PER_USER = 100
    for _ in range(40):
        submit()
    with django_assert_num_queries(4):
        overview.overview()


def test_metrics_are_for_a_token_auditors_and_admins(
    running: Job,
    steward: Any,
    auditor: Any,
    client: Any,
    client_for: Any,
    settings: Any,
) -> None:
    settings.METRICS_TOKEN = "watcher"
    services.finish(job=running, publish=dict)
    assert client.get("/metrics").status_code == 401
    assert client_for(steward).get("/metrics").status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert client_for(auditor).get("/metrics", headers=wrong).status_code == 401
    assert client_for(auditor).get("/metrics").status_code == 200
    answer = client.get("/metrics", headers={"Authorization": "Bearer watcher"})
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }
    assert found[("privacyhub_jobs", "light", "nothing", "succeeded")] == 1
    assert found[("privacyhub_day_ended_jobs", "nothing", "succeeded")] == 1
    assert (
        found[("privacyhub_day_ended_jobs_within", "+Inf", "nothing", "succeeded")] == 1
    )
    assert found[("privacyhub_queue_workers", "train")] == 0
    assert found[("privacyhub_disk_bytes", "free")] > 0
    settings.METRICS_TOKEN = ""
    empty = client.get("/metrics", headers={"Authorization": "Bearer "})
    assert empty.status_code == 401


def test_metrics_sum_ledgers_and_name_none(
    register_version: Any, admin: Any, client_for: Any
) -> None:
    told = client_for(admin).get("/metrics").content.decode()
    assert 'privacyhub_ledgers{declared="yes"} 1.0' in told
    assert 'privacyhub_ledger_epsilon{part="left"} 8' in told
    assert "privacyhub_ledgers_low 0.0" in told
    assert "Register" not in told


def test_bell_counts_until_it_is_opened(
    running: Job, steward: Any, client_for: Any
) -> None:
    services.finish(job=running, publish=dict)
    client = client_for(steward)
    for _ in range(2):
        assert b"1 new notice" in client.get("/bell/?part=count").content
        assert b"is-unread" in client.get("/bell/?part=list").content
    assert b"is-unread" in client.post("/bell/").content
    assert b"notice" not in client.get("/bell/?part=count").content


def test_rest_submits_lists_cancels_and_repeats(
    steward: Any, api_for: Any, run_jobs: Any
) -> None:
    api = api_for(steward)
    answer = api.post("/api/v1/jobs/", {"kind": "nothing"})
    assert answer.status_code == 202
    where = answer["Location"]
    assert api.get(where).json()["state"] == "queued"
    assert api.get("/api/v1/jobs/?state=queued").json()["count"] == 1
    assert api.get("/api/v1/jobs/?state=nonsense").status_code == 400
    assert api.post(f"{where}again/").status_code == 409
    assert api.post(f"{where}cancel/").json()["state"] == "cancelled"
    assert api.post(f"{where}again/").status_code == 202
    run_jobs()
    assert api.get("/api/v1/jobs/?state=succeeded").json()["count"] == 1


def test_rest_does_a_post_with_a_key_once(steward: Any, api_for: Any) -> None:
    api = api_for(steward)
    answers = [
        api.post("/api/v1/jobs/", {"kind": "nothing"}, headers={"Idempotency-Key": "k"})
        for _ in range(3)
    ]
    assert len({answer.json()["job"] for answer in answers}) == 1
    assert Job.objects.count() == 1


def test_readiness_names_what_is_missing(
    db: None, client: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.messages.broker_answers", lambda: True)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["worker"]) == (503, False)
    Worker.objects.create(name="here:1", queues="light")
    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr("jobs.messages.broker_answers", lambda: False)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["broker"]) == (503, False)
    monkeypatch.setattr("jobs.messages.broker_answers", lambda: True)
    monkeypatch.setattr("privacyhub.web.health.LEAST_FREE_BYTES", 2**80)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["disk"]) == (503, False)
    monkeypatch.undo()
    settings.AUDIT_HEADS_DIR = Path("/proc")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["heads"]) == (503, False)
    silent = timezone.now() - 2 * settings.JOB_LEASE
    Worker.objects.update(seen_at=silent)
    assert client.get("/readyz").json()["worker"] is False


def test_home_and_search_show_only_what_is_visible(
    submit: Submit, analyst: Any, steward: Any, client_for: Any
) -> None:
    submit(title="Secret register")
    assert b"Secret register" in client_for(steward).get("/").content
    assert b"Secret register" not in client_for(analyst).get("/").content
    assert b"Secret register" in client_for(steward).get("/search/?q=secret").content
    page = client_for(analyst).get("/search/?q=secret").content
    assert b"Secret register" not in page
