"""Every answer has an id, and so has every line that is logged on its way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from privacyhub import logs

logger = logging.getLogger(__name__)
_WATCHED = {"web:healthz", "web:readyz", "web:metrics"}  # asked all the time


class RequestIds:
    """`X-Request-ID` of the client, where it is one, or a fresh one.

    One line tells how the request went.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.monotonic()
        offered = request.headers.get("X-Request-ID", "")
        request_id = logs.accepted_request_id(offered)
        with logs.of(request=request_id):
            response = self._get_response(request)
            _log(request, response, seconds=time.monotonic() - began)
        response.headers["X-Request-ID"] = request_id
        return response


def _log(request: HttpRequest, response: HttpResponse, *, seconds: float) -> None:
    """The route's name, not the address: a query may hold what was searched."""
    named = request.resolver_match
    route = named.view_name if named else ""
    if route in _WATCHED:
        return
    told = {
        "method": request.method,
        "route": route,
        "status": response.status_code,
        "seconds": round(seconds, 4),
    }
    words = f"{request.method} {route or 'unknown'} {response.status_code}"
    logger.info(words, extra={"told": told})
