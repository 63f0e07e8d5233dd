"""The answers to a request that no view saw, or whose view broke.

Below /api/ a script reads them: they are problem documents. Django's own look at the
form for a CSRF token, and so would read a refused upload.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from privacyhub.api.problems import problem
from privacyhub.datasets.uploads import UploadRefused


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400; a refused upload has its own status and words."""
    if isinstance(exception, UploadRefused):
        status, reason = exception.status, exception.message
    else:
        status, reason = 400, None
    if _is_for_scripts(request):
        title = reason or "This request could not be read."
        return problem(status=status, title=title, code="bad_request")
    told = {"status": status, "reason": reason} if reason else None
    return render(request, "400.html", told, status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_for_scripts(request):
        return problem(status=404, title="Not found.", code="not_found")
    return render(request, "404.html", status=404)


def broke(request: HttpRequest) -> HttpResponse:
    """500: a bug. Its trace is in the log, and nothing of it in the answer."""
    if _is_for_scripts(request):
        title = "Something went wrong in the hub. Its administrator can see why."
        return problem(status=500, title=title, code="bug")
    # Without the request: what broke may be what its context is made from.
    return HttpResponse(render_to_string("500.html"), status=500)


def _is_for_scripts(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")
