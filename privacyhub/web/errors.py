"""The pages for a request that no view saw.

Django's own look at the form for a CSRF token, and so would read a refused upload.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from privacyhub.datasets.uploads import UploadRefused


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400; a refused upload has its own status and words."""
    if isinstance(exception, UploadRefused):
        told = {"status": exception.status, "reason": exception.message}
        return render(request, "400.html", told, status=exception.status)
    return render(request, "400.html", status=400)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "404.html", status=404)
