"""The jobs board and a job's page."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from jobs import registry, services
from jobs.models import Job, Worker
from jobs.states import TERMINAL, State
from privacyhub.governance import audit, statement
from privacyhub.web.flash import explained

PAGE = 25
_TABS = {
    "all": ("All", tuple(State.values)),
    "queued": ("Queued", (State.QUEUED,)),
    "running": ("Running", (State.RUNNING,)),
    "ended": ("Ended", tuple(TERMINAL)),
}
# Where a kind's result is shown: the page, and the result's key that names it.
_RESULTS = {
    "ingest": ("web:dataset", "dataset", "Open the dataset"),
    "anonymize": ("web:anonymization", "run", "Open the anonymization"),
    "train": ("web:model_version", "model_version", "Open the model"),
    "assess": ("web:model_version", "model_version", "Open the model"),
    "predict": ("web:predict", "model_version", "Open the predictions"),
    "correct": ("web:feedback_detail", "feedback", "Open the feedback"),
}


@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """The board. The number of queries does not depend on the number of jobs."""
    visible = Job.objects.visible_to(request.user)
    kind = request.GET.get("kind", "")
    if kind in registry.kinds():
        visible = visible.filter(kind=kind)
    tab = request.GET.get("tab", "all")
    tab = tab if tab in _TABS else "all"
    counts = dict(visible.values_list("state").annotate(Count("pk")).order_by())
    shown = visible.filter(state__in=_TABS[tab][1]).select_related("owner")
    context = {
        "tabs": [
            {
                "key": key,
                "label": label,
                "count": sum(counts.get(state, 0) for state in states),
            }
            for key, (label, states) in _TABS.items()
        ],
        "tab": tab,
        "kind": kind,
        "kinds": registry.kinds(),
        "page_obj": Paginator(shown.defer("trace", "spec"), PAGE).get_page(
            request.GET.get("page")
        ),
        "live": any(counts.get(state) for state in (State.QUEUED, State.RUNNING)),
        "workers": _workers(),
    }
    return render(request, "jobs/jobs.html", context)


def _workers() -> list[dict[str, Any]]:
    alive_since = timezone.now() - settings.JOB_LEASE
    return [
        {
            "worker": worker,
            "alive": worker.seen_at > alive_since,
            "queues": worker.queues.replace(",", ", "),
        }
        for worker in Worker.objects.order_by("name")[:50]
    ]


@require_safe
def job(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _find(request, pk)
    return render(request, "jobs/job.html", _context(request, found))


@require_safe
def job_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """The part of the page that polls; a terminal state polls no more."""
    return render(request, "jobs/live.html", _context(request, _find(request, pk)))


def _context(request: HttpRequest, found: Job) -> dict[str, Any]:
    user = request.user
    is_owner = found.owner_id == user.pk
    ended_badly = found.state in {State.FAILED, State.CANCELLED}
    queued = found.state == State.QUEUED
    return {
        "job": found,
        "spec": json.dumps(found.spec, indent=2, sort_keys=True),
        "reservations": statement.reservations(run_id=found.pk),
        "result": _result(found),
        "may_cancel": is_owner and found.is_open and not found.cancel_requested_at,
        "may_repeat": is_owner and ended_badly and registry.kind(found.kind).again,
        "has_trace": _reads_traces(user) and bool(found.trace),
        "before": _before(found) if queued else 0,
        "no_worker": queued and not any(told["alive"] for told in _workers()),
        "announcement": f"{found.title}: {found.get_state_display()}, {found.stage}",
    }


def _before(found: Job) -> int:
    """Jobs that wait in the same queue and come first."""
    waiting = Job.objects.claimable().filter(queue=found.queue)
    return waiting.filter(created_at__lt=found.created_at).count()


def _result(found: Job) -> dict[str, str] | None:
    """The page of what the job made."""
    if found.state != State.SUCCEEDED or found.kind not in _RESULTS:
        return None
    page, key, label = _RESULTS[found.kind]
    if key not in found.result:
        return None
    url = reverse(page, args=[found.result[key]])
    if found.result.get("batch"):
        url += f"?batch={found.result['batch']}"
    return {"url": url, "label": label}


@require_safe
def job_trace(request: HttpRequest, pk: Any) -> HttpResponse:
    """Where a job broke. It may hold data, so reading it is on record."""
    found = _find(request, pk)
    if not _reads_traces(request.user):
        raise PermissionDenied
    audit.record(actor=request.user, action="job.trace", target=found)
    return render(request, "jobs/trace.html", {"job": found})


def _reads_traces(user: Any) -> bool:
    return user.is_admin or user.is_auditor


@require_POST
def job_cancel(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _own(request, pk)
    services.request_cancel(job=found, by=request.user)
    messages.info(request, "The job was asked to stop.")
    return redirect("web:job", pk=found.pk)


@require_POST
def job_again(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _own(request, pk)
    with explained(request) as outcome:
        fresh = services.run_again(job=found, by=request.user)
    return redirect("web:job", pk=fresh.pk if outcome.ok else found.pk)


def _find(request: HttpRequest, pk: Any) -> Job:
    visible = Job.objects.visible_to(request.user).select_related("owner", "depends_on")
    return get_object_or_404(visible, pk=pk)


def _own(request: HttpRequest, pk: Any) -> Job:
    """A job that the user may act on: only their own."""
    found = _find(request, pk)
    if found.owner_id != request.user.pk:
        raise PermissionDenied
    return found


urlpatterns: list[URLPattern] = [
    path("jobs/", jobs, name="jobs"),
    path("jobs/<uuid:pk>/", job, name="job"),
    path("jobs/<uuid:pk>/live/", job_live, name="job_live"),
    path("jobs/<uuid:pk>/trace/", job_trace, name="job_trace"),
    path("jobs/<uuid:pk>/cancel/", job_cancel, name="job_cancel"),
    path("jobs/<uuid:pk>/again/", job_again, name="job_again"),
]
