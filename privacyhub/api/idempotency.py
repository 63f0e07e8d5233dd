"""`Idempotency-Key`: the same key and body give the same answer, for 24 hours.

Scoped to user and route. The key with another body answers 409, and so does one
whose first request is still at work.

A request that is cut off leaves its key usable again after a minute, by the database's
clock, and yet nothing is done twice. What a request does is marked with its key in the
very transaction that does it: a key that took effect is never handed on, and a request
that lost its key meanwhile does nothing. The answer is there in that transaction too
where it is a job that was accepted, or the view is `idempotent_atomic`. Else it may be
lost, which a 409 says.
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
from django.db.models.functions import Now
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
LEASE = timedelta(minutes=1)
LONGEST_KEY = 200

Handler = Callable[..., Any]

_at_work: ContextVar[KeptAnswer | None] = ContextVar("at_work", default=None)


def idempotent(handler: Handler) -> Handler:
    """Wrap a POST method of a view."""
    return _once(handler, atomic=False)


def idempotent_atomic(handler: Handler) -> Handler:
    """Wrap a short POST method: what it does and its answer are one transaction.

    Not for one that reads a table or computes: it would keep others from writing.
    """
    return _once(handler, atomic=True)


def _once(handler: Handler, *, atomic: bool) -> Handler:
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
            return _again(kept)
        at_work = _at_work.set(kept)
        try:
            if atomic:
                response = _in_one(kept, handler, view, request, *args, **kwargs)
            else:
                response = handler(view, request, *args, **kwargs)
        except BaseException:
            _forget(kept)
            raise
        finally:
            _at_work.reset(at_work)
        if response.status_code >= 300:
            _forget(kept)
        elif not atomic:
            _keep(kept, response)
        return response

    return wrapper


def _in_one(kept: KeptAnswer, handler: Handler, *args: Any, **kwargs: Any) -> Response:
    refused: Exception | None = None
    with transaction.atomic():
        try:
            response = handler(*args, **kwargs)
        except Exception as error:  # what was put on record of a refusal stays
            refused = error
        else:
            if response.status_code < 300:
                _keep(kept, response)
    if refused is not None:
        raise refused
    return response


def _keep(kept: KeptAnswer, response: Response) -> None:
    kept.status = response.status_code
    kept.body = response.data
    kept.location = response.headers.get("Location", "")
    kept.save(update_fields=["status", "sealed_body", "location"])


def _forget(kept: KeptAnswer) -> None:
    """The key is free again, unless another request has it by now."""
    KeptAnswer.objects.filter(pk=kept.pk, attempt=kept.attempt).delete()


def took_effect() -> None:
    """To be called in each transaction that does something, as the audit trail does.

    Raises Conflict, and undoes it, where another request has the key by now.
    """
    kept = _at_work.get()
    if kept is None:
        return
    mine = KeptAnswer.objects.filter(pk=kept.pk, attempt=kept.attempt)
    if not mine.update(took_effect=True):
        raise _at_work_still()


def job_accepted(job: Job) -> None:
    """Until a request with a key has its answer, its first job is the answer."""
    kept = _at_work.get()
    if kept is None:
        return
    answer = accepted(job)
    kept.body = answer.data
    KeptAnswer.objects.filter(pk=kept.pk, attempt=kept.attempt, status=None).update(
        status=answer.status_code,
        sealed_body=kept.sealed_body,
        location=answer.headers["Location"],
    )


def discard_old() -> None:
    """What was kept for its time goes, asked for again or not."""
    KeptAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).delete()


def _hold(request: Request, key: str, digest: str) -> tuple[KeptAnswer, bool]:
    """The row of this key, and whether this request is the one to do it."""
    discard_old()
    scope = {"user": request.user, "route": request.path, "key": key}
    try:
        with transaction.atomic():
            kept = KeptAnswer.objects.create(
                **scope, body_digest=digest, lease_until=Now() + LEASE
            )
            return kept, True
    except IntegrityError:
        kept = KeptAnswer.objects.filter(**scope).first()
    if kept is None:  # forgotten in between: the key is free again
        return _hold(request, key, digest)
    if kept.body_digest != digest:
        raise Conflict(
            "This Idempotency-Key came with another request before.",
            code="idempotency_key_reused",
        )
    return kept, kept.status is None and _taken_over(kept)


def _taken_over(kept: KeptAnswer) -> bool:
    """Take the key of a request that was cut off before it did anything."""
    cut_off = KeptAnswer.objects.filter(
        pk=kept.pk,
        attempt=kept.attempt,
        status=None,
        took_effect=False,
        lease_until__lt=Now(),
    )
    kept.attempt += 1
    return bool(cut_off.update(attempt=kept.attempt, lease_until=Now() + LEASE))


def _again(kept: KeptAnswer) -> Response:
    if kept.status is None:
        at_work = KeptAnswer.objects.filter(pk=kept.pk, lease_until__gt=Now())
        if kept.took_effect and not at_work.exists():
            raise Conflict(
                "The first request with this Idempotency-Key took effect and its "
                "answer was lost. Look at what there is, and send anything further "
                "with another key.",
                code="idempotency_answer_lost",
            )
        raise _at_work_still()
    headers = {"Location": kept.location} if kept.location else None
    return Response(kept.body, status=kept.status, headers=headers)


def _at_work_still() -> Conflict:
    return Conflict(
        "The first request with this Idempotency-Key is still at work. If it was cut "
        "off, the key can be used again in a minute.",
        code="idempotency_in_progress",
    )


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
