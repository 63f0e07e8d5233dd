"""For the machine that watches the hub: does it live, and can it work?"""

from __future__ import annotations

import shutil

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from jobs import messages
from jobs.models import Worker
from privacyhub.governance import heads

LEAST_FREE_BYTES = 500 * 2**20


@require_safe
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@login_not_required
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether database, broker, a worker and disk are there, and whether the folder of
    the exported heads takes another: 200, or 503."""
    found = {"database": _database(), "broker": messages.broker_answers()}
    found["worker"] = found["database"] and _worker()
    found["heads"] = found["database"] and heads.can_be_written()
    found["disk"] = shutil.disk_usage(settings.VAR_DIR).free > LEAST_FREE_BYTES
    return JsonResponse(found, status=200 if all(found.values()) else 503)


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def _worker() -> bool:
    alive_since = timezone.now() - settings.JOB_LEASE
    return Worker.objects.filter(seen_at__gt=alive_since).exists()


urlpatterns: list[URLPattern] = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
]
