"""What holds for every answer: none is kept, and refused access is on record."""

from __future__ import annotations

from collections.abc import Callable

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
