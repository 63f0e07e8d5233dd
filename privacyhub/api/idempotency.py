"""`Idempotency-Key`: the same key and body give the same answer, for 24 hours.

Scoped to user and route. The key with another body answers 409, and so does one
whose first request is still at work. A job that a request submits is noted with it, in
the job's own transaction: a process that is killed before it answered leaves the 202.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.models import Job
from privacyhub.api.answers import accepted
from privacyhub.api.models import KeptAnswer
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.uploads import SealedUpload
from privacyhub.governance.keys import identity_key

KEPT = timedelta(hours=24)
LONGEST_KEY = 200

Handler = Callable[..., Any]

_at_work: ContextVar[KeptAnswer | None] = ContextVar("at_work", default=None)


def idempotent(handler: Handler) -> Handler:
    """Wrap a POST method of a view."""

    @wraps(handler)
    def wrapper(view: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key", "")
        if not key:
            return handler(view, request, *args, **kwargs)
        if len(key) > LONGEST_KEY:
            raise DataError("An Idempotency-Key has at most 200 characters.")
        digest = _digest(request)
        kept, fresh = _hold(request, key, digest)
        if not fresh:
            return _again(kept, digest)
        at_work = _at_work.set(kept)
        try:
            response = handler(view, request, *args, **kwargs)
        except BaseException:
            kept.delete()
            raise
        finally:
            _at_work.reset(at_work)
        if response.status_code >= 300:
            kept.delete()
            return response
        kept.status = response.status_code
        kept.body = response.data
        kept.location = response.headers.get("Location", "")
        kept.save()
        return response

    return wrapper


def job_accepted(job: Job) -> None:
    """Until a request with a key has its answer, its first job is the answer."""
    kept = _at_work.get()
    if kept is None:
        return
    answer = accepted(job)
    kept.body = answer.data
    KeptAnswer.objects.filter(pk=kept.pk, status=None).update(
        status=answer.status_code,
        sealed_body=kept.sealed_body,
        location=answer.headers["Location"],
    )


def discard_old() -> None:
    """What was kept for its time goes, asked for again or not."""
    KeptAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).delete()


def _hold(request: Request, key: str, digest: str) -> tuple[KeptAnswer, bool]:
    """The row of this key, and whether this request made it."""
    discard_old()
    scope = {"user": request.user, "route": request.path, "key": key}
    try:
        with transaction.atomic():
            return KeptAnswer.objects.create(**scope, body_digest=digest), True
    except IntegrityError:
        return KeptAnswer.objects.get(**scope), False


def _again(kept: KeptAnswer, digest: str) -> Response:
    if kept.body_digest != digest:
        raise Conflict(
            "This Idempotency-Key came with another request before.",
            code="idempotency_key_reused",
        )
    if kept.status is None:
        raise Conflict(
            "The first request with this Idempotency-Key is still at work.",
            code="idempotency_in_progress",
        )
    headers = {"Location": kept.location} if kept.location else None
    return Response(kept.body, status=kept.status, headers=headers)


def _digest(request: Request) -> str:
    """HMAC over the fields and the files of the request, which may be private."""
    if not isinstance(request.data, Mapping):
        raise DataError("The body must be an object.")
    found = hmac.new(identity_key("idempotent requests"), digestmod=hashlib.sha256)
    for name, value in sorted(request.data.items()):
        found.update(f"{name}=".encode())
        if isinstance(value, SealedUpload):
            found.update(str(value.name).encode())
            with value.open_plain() as source:
                while block := source.read(2**20):
                    found.update(block)
        else:
            found.update(json.dumps(value, sort_keys=True, default=str).encode())
        found.update(b"\0")
    return found.hexdigest()
