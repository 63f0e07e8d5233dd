"""A POST with a key whose process was killed before it answered."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.response import Response

from jobs.models import Job
from privacyhub.api.models import KeptAnswer

KEY = {"Idempotency-Key": "k"}
BODY = {"kind": "nothing"}


class Killed(BaseException):
    """Stands for SIGKILL: the request leaves what it has committed."""


@pytest.fixture
def killed_before_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: KeptAnswer, *_: Any, **__: Any) -> None:
        if self.status is not None:
            raise Killed

    save = KeptAnswer.save

    def saved(self: KeptAnswer, *given: Any, **more: Any) -> None:
        stop(self)
        save(self, *given, **more)

    monkeypatch.setattr(KeptAnswer, "save", saved)


def test_a_job_that_was_accepted_is_the_answer(
    steward: Any, api_for: Any, killed_before_it_answers: None
) -> None:
    api = api_for(steward)
    with pytest.raises(Killed):
        api.post("/api/v1/jobs/", BODY, headers=KEY)
    job = Job.objects.get()
    again = api.post("/api/v1/jobs/", BODY, headers=KEY)
    assert (again.status_code, again.json()["job"]) == (202, str(job.pk))
    assert again.headers["Location"] == again.json()["url"]
    assert Job.objects.count() == 1
    other = api.post("/api/v1/jobs/", {**BODY, "seconds": 1}, headers=KEY)
    assert other.status_code == 409


def test_a_refused_request_leaves_no_answer(
    steward: Any, api_for: Any, settings: Any
) -> None:
    settings.MAX_JOBS_PER_USER = 0
    refused: Response = api_for(steward).post("/api/v1/jobs/", BODY, headers=KEY)
    assert refused.status_code >= 400
    assert not KeptAnswer.objects.exists()


def test_a_request_without_a_key_keeps_nothing(steward: Any, api_for: Any) -> None:
    api = api_for(steward)
    assert api.post("/api/v1/jobs/", BODY, headers=KEY).status_code == 202
    KeptAnswer.objects.update(status=None, sealed_body=None)
    assert api.post("/api/v1/jobs/", BODY).status_code == 202
    assert KeptAnswer.objects.get().status is None
