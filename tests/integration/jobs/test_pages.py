"""The board, a job's page, the bell and REST: what is shown, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import services
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
    db: None, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.messages.broker_answers", lambda: True)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["worker"]) == (503, False)
    Worker.objects.create(name="here:1", queues="light")
    assert client.get("/readyz").status_code == 200


def test_home_and_search_show_only_what_is_visible(
    submit: Submit, analyst: Any, steward: Any, client_for: Any
) -> None:
    submit(title="Secret register")
    assert b"Secret register" in client_for(steward).get("/").content
    assert b"Secret register" not in client_for(analyst).get("/").content
    assert b"Secret register" in client_for(steward).get("/search/?q=secret").content
    page = client_for(analyst).get("/search/?q=secret").content
    assert b"Secret register" not in page
