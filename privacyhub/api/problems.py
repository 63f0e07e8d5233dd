"""Errors as `application/problem+json` (RFC 9457): row and column, never a value."""

from __future__ import annotations

import logging
from typing import Any

from django.http import JsonResponse
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from jobs.states import NotQueued, NotRepeatable, TooManyJobs
from privacyhub.accounts.errors import AccountError
from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets.errors import DataError
from privacyhub.engines.tables import SealedError, StoreError
from privacyhub.governance.keys import KeyDestroyed
from privacyhub.governance.ledger import BudgetRefused, LedgerError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"


def problem(
    *, status: int, title: str, code: str, headers: Any = None, **more: Any
) -> JsonResponse:
    """A problem document; `more` names row, column, errors or figures."""
    body = {"type": "about:blank", "title": title, "status": status, "code": code}
    body |= {name: value for name, value in more.items() if value is not None}
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)


def handle(error: Exception, context: dict[str, Any]) -> Any:
    """Domain errors have their status here, in one place."""
    answer = _domain_problem(error)
    if answer is not None:
        set_rollback()
        return answer
    response = exception_handler(error, context)
    return None if response is None else _from_framework(error, response)


def _domain_problem(error: Exception) -> JsonResponse | None:
    match error:
        case DataError():
            return problem(
                status=error.status,
                title=error.message,
                code=error.code,
                row=error.row,
                column=error.column,
            )
        case BudgetRefused():
            return problem(status=409, title=error.message, code=error.code)
        case LedgerError():
            return problem(status=409, title=error.message, code="ledger")
        case AccountError():
            return problem(
                status=400,
                title=error.message,
                code="account",
                field=error.field or None,
            )
        case NotQueued():
            return problem(status=409, title=str(error), code="not_queued")
        case NotRepeatable():
            return problem(status=409, title=str(error), code="not_repeatable")
        case NotAllowed():
            return problem(status=403, title=error.message, code="not_allowed")
        case TooManyJobs():
            return problem(status=429, title=str(error), code="too_many_jobs")
        case SealedError() | StoreError():
            logger.error("a file of the store was refused: %s", error)
            return problem(status=409, title=str(error), code="damaged")
        case KeyDestroyed():
            return problem(status=410, title="This was erased.", code="erased")
    return None


def _from_framework(error: Exception, response: Response) -> JsonResponse:
    headers = {
        name: value
        for name, value in response.items()
        if name in {"WWW-Authenticate", "Retry-After", "Allow"}
    }
    if isinstance(error, ValidationError):
        return problem(
            status=400,
            title="Some fields are missing or wrong.",
            code="invalid",
            errors=error.detail,
            headers=headers,
        )
    title = str(error.detail) if isinstance(error, APIException) else "Not found."
    code = getattr(error, "default_code", "not_found")
    return problem(status=response.status_code, title=title, code=code, headers=headers)
