"""Who may let a queued job go first, and how it is put on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs import services
from jobs.models import Job
from privacyhub.governance.models import AuditEvent

Submit = Callable[..., Job]


def test_a_raised_job_starts_first_and_the_trail_tells_who_raised_it(
    submit: Submit, steward: Any, api_for: Any
) -> None:
    early, late = submit(), submit()
    answer = api_for(steward).post(
        f"/api/v1/jobs/{late.pk}/priority/", {"priority": 3}, format="json"
    )
    assert (answer.status_code, answer.json()["priority"]) == (200, 3)
    line = AuditEvent.objects.get(action="job.priority")
    assert line.actor == steward.username
    assert (line.detail["before"], line.detail["priority"]) == (0, 3)
    taken = [services.claim_next(queue="light", worker="one") for _ in range(2)]
    assert taken == [late, early]


@pytest.mark.parametrize("priority", [-11, 11, "high", None])
def test_a_priority_out_of_bounds_is_refused(
    submit: Submit, steward: Any, api_for: Any, client_for: Any, priority: Any
) -> None:
    job = submit()
    address = f"/jobs/{job.pk}/priority/"
    body = {"priority": priority}
    answer = api_for(steward).post(f"/api/v1{address}", body, format="json")
    assert answer.status_code == 400
    client_for(steward).post(address, {"priority": str(priority)})
    job.refresh_from_db()
    assert job.priority == 0


def test_a_job_that_has_started_keeps_its_turn(
    running: Job, steward: Any, api_for: Any
) -> None:
    answer = api_for(steward).post(
        f"/api/v1/jobs/{running.pk}/priority/", {"priority": 1}, format="json"
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "not_queued")
    assert not AuditEvent.objects.filter(action="job.priority").exists()


@pytest.mark.parametrize(
    ("role", "changes"),
    [
        ("steward", True),
        ("admin", True),
        ("auditor", False),
        ("other_steward", False),
        ("analyst", False),
    ],
)
def test_the_page_offers_it_to_those_who_may(
    submit: Submit,
    role: str,
    changes: bool,
    request: pytest.FixtureRequest,
    client_for: Any,
) -> None:
    job = submit()
    client = client_for(request.getfixturevalue(role))
    page = client.get(f"/jobs/{job.pk}/")
    offered = b"Change the priority" in page.content
    client.post(f"/jobs/{job.pk}/priority/", {"priority": "-4"})
    job.refresh_from_db()
    assert (offered, job.priority) == (changes, -4 if changes else 0)


def test_an_analyst_raises_no_job_of_their_own(
    submit: Submit, analyst: Any, api_for: Any
) -> None:
    job = submit(owner=analyst)
    answer = api_for(analyst).post(
        f"/api/v1/jobs/{job.pk}/priority/", {"priority": 10}, format="json"
    )
    assert answer.status_code == 403
