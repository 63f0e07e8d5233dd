"""What holds for every request: none is kept, refusals are on record, idle ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from privacyhub.accounts import services


class PrivateResponses:
    """`Cache-Control: no-store` on everything but static files and errors."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class RefusedAccess:
    """Audits a 403 or 404 where an object was named, for pages and REST alike.

    A foreign object is a 404 like one that is not there, so both are recorded.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        named = request.resolver_match
        if (
            response.status_code in {403, 404}
            and named is not None
            and "pk" in named.kwargs
            and request.user.is_authenticated
        ):
            services.access_refused(
                user=request.user,
                status=response.status_code,
                method=request.method or "",
                name=named.view_name,
                object_id=named.kwargs["pk"],
            )
        return response


class IdleSessions:
    """Ends a session that nobody used for `SESSION_IDLE`.

    What an open page asks for by itself, to stay current, is no use of it.
    """

    _USED_AT = "used_at"
    _WRITTEN_AT_MOST_EVERY = 60.0  # seconds

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        by_itself = "HX-Request" in request.headers and request.method == "GET"
        if request.user.is_authenticated:
            now = time.time()
            idle = now - request.session.get(self._USED_AT, now)
            if idle > settings.SESSION_IDLE.total_seconds():
                logout(request)
                if by_itself:  # else the sign-in form would be put into the page
                    return HttpResponse(status=204, headers={"HX-Refresh": "true"})
            elif self._USED_AT not in request.session or (
                idle > self._WRITTEN_AT_MOST_EVERY and not by_itself
            ):
                request.session[self._USED_AT] = now
        return self._get_response(request)
