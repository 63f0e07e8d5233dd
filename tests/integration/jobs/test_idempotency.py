"""A POST with a key whose process was killed before it answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError
from django.db.models import F
from django.utils import timezone
from rest_framework.response import Response

from jobs.models import Job
from privacyhub.accounts import services as accounts
from privacyhub.accounts.models import User
from privacyhub.accounts.roles import NotAllowed
from privacyhub.anonymization.models import Hierarchy
from privacyhub.api import idempotency
from privacyhub.api.models import KeptAnswer
from privacyhub.governance import audit
from privacyhub.governance.models import AuditEvent

KEY = {"Idempotency-Key": "k"}
BODY = {"kind": "nothing"}


class Killed(BaseException):
    """Stands for SIGKILL: the request leaves what it has committed."""


def _kill_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: KeptAnswer, *_: Any, **__: Any) -> None:
        if self.status is not None:
            raise Killed

    save = KeptAnswer.save

    def saved(self: KeptAnswer, *given: Any, **more: Any) -> None:
        stop(self)
        save(self, *given, **more)

    monkeypatch.setattr(KeptAnswer, "save", saved)


@pytest.fixture
def killed_before_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    _kill_before_the_answer(monkeypatch)


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


NEW_USER = {"username": "new", "password": "a long password 2", "role": "analyst"}


@pytest.fixture
def nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process does in Python when it fails is not done when it is killed."""
    monkeypatch.setattr(idempotency, "_forget", lambda kept: None)


def _create_user(admin: Any, api_for: Any) -> Response:
    answer: Response = api_for(admin).post("/api/v1/users/", NEW_USER, headers=KEY)
    return answer


def _a_minute_goes_by() -> None:
    past = timezone.now() - timedelta(seconds=1)
    KeptAnswer.objects.update(lease_until=past)


def _made() -> int:
    return User.objects.filter(username="new").count()


def test_a_lease_is_a_minute_by_the_clock_of_the_database(
    admin: Any, api_for: Any
) -> None:
    _create_user(admin, api_for)
    kept = KeptAnswer.objects.get()
    assert kept.lease_until is not None
    left = kept.lease_until - timezone.now()
    assert timedelta(seconds=50) < left <= timedelta(seconds=61)


def test_a_key_that_was_cut_off_before_anything_was_done_is_free_after_a_minute(
    admin: Any,
    api_for: Any,
    nothing_is_forgotten: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(**_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(accounts, "create_user", killed)
        with pytest.raises(Killed):
            _create_user(admin, api_for)
    told = _create_user(admin, api_for)
    assert (told.status_code, told.json()["code"]) == (409, "idempotency_in_progress")
    _a_minute_goes_by()
    other = {**NEW_USER, "role": "auditor"}
    wrong = api_for(admin).post("/api/v1/users/", other, headers=KEY)
    assert (wrong.status_code, wrong.json()["code"]) == (409, "idempotency_key_reused")
    first, second = (_create_user(admin, api_for) for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert _made() == 1


def test_an_atomic_effect_is_there_with_its_answer_or_not_at_all(
    admin: Any,
    api_for: Any,
    nothing_is_forgotten: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        _kill_before_the_answer(patched)
        with pytest.raises(Killed):
            _create_user(admin, api_for)
    assert _made() == 0
    assert not KeptAnswer.objects.get().took_effect
    _a_minute_goes_by()
    assert _create_user(admin, api_for).status_code == 201
    assert _made() == 1


def test_an_effect_whose_answer_was_lost_is_not_made_twice(
    steward: Any,
    api_for: Any,
    nothing_is_forgotten: None,
    killed_before_it_answers: None,
) -> None:
    """Of a view that is not atomic."""

    def upload() -> Any:
        file = SimpleUploadedFile("sex.csv", b"female;*\nmale;*\n")
        body = {"name": "Sex", "file": file}
        api = api_for(steward)
        return api.post("/api/v1/hierarchies/", body, format="multipart", headers=KEY)

    with pytest.raises(Killed):
        upload()
    KeptAnswer.objects.get(took_effect=True, status=None)
    told = upload()
    assert (told.status_code, told.json()["code"]) == (409, "idempotency_in_progress")
    _a_minute_goes_by()
    told = upload()
    assert (told.status_code, told.json()["code"]) == (409, "idempotency_answer_lost")
    assert Hierarchy.objects.count() == 1


def test_a_key_that_is_forgotten_while_it_is_looked_for_is_free(
    admin: Any, api_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request had the key when this one came, and was refused since."""
    real = KeptAnswer.objects.create
    taken = iter([True, False])

    def create(**fields: Any) -> KeptAnswer:
        if next(taken):
            raise IntegrityError
        return real(**fields)

    monkeypatch.setattr(KeptAnswer.objects, "create", create)
    assert _create_user(admin, api_for).status_code == 201
    assert _made() == 1


def test_a_request_that_lost_its_key_does_nothing(
    admin: Any, api_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was halted for longer than its lease, and another one goes on with the key."""
    real = accounts.create_user

    def late(**asked: Any) -> Any:
        KeptAnswer.objects.update(attempt=F("attempt") + 1)
        return real(**asked)

    monkeypatch.setattr(accounts, "create_user", late)
    told = _create_user(admin, api_for)
    assert (told.status_code, told.json()["code"]) == (409, "idempotency_in_progress")
    assert _made() == 0
    assert KeptAnswer.objects.get().attempt == 2


def test_a_job_of_a_request_that_lost_its_key_is_not_accepted(
    steward: Any, api_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold: Callable[..., Any] = idempotency._hold

    def late(*asked: Any) -> Any:
        kept = hold(*asked)
        KeptAnswer.objects.update(attempt=F("attempt") + 1)
        return kept

    monkeypatch.setattr(idempotency, "_hold", late)
    told = api_for(steward).post("/api/v1/jobs/", BODY, headers=KEY)
    assert told.status_code == 409
    assert not Job.objects.exists()


def test_a_refusal_of_an_atomic_view_stays_on_record(
    admin: Any, api_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*, by: Any, **_: Any) -> None:
        audit.record(actor=by, action="user.refuse", target=by)
        raise NotAllowed

    monkeypatch.setattr(accounts, "create_user", refused)
    assert _create_user(admin, api_for).status_code == 403
    assert AuditEvent.objects.filter(action="user.refuse").count() == 1
    assert not KeptAnswer.objects.exists()
