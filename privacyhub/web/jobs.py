"""The jobs board and a job's page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST, require_safe

from jobs import overview, registry, services
from jobs.models import (
    LEAST_PRIORITY,
    MOST_PRIORITY,
    NORMAL_PRIORITY,
    Job,
    JobQuerySet,
)
from jobs.queues import Queue
from jobs.states import TERMINAL, State
from privacyhub.anonymization import awaited
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.governance import audit, priorities, statement
from privacyhub.training import attempts
from privacyhub.training.models import TrainingRun
from privacyhub.web.flash import explained
from privacyhub.web.model_figures import epsilon_over_steps

PAGE = 25
_TABS = {
    "all": ("All", tuple(State.values)),
    "queued": ("Queued", (State.QUEUED,)),
    "running": ("Running", (State.RUNNING,)),
    "stuck": ("Stuck", (State.RUNNING,)),
    "ended": ("Ended", tuple(TERMINAL)),
}
# Where a kind's result is shown: the page, and the result's key that names it.
_RESULTS = {
    "ingest": ("web:dataset", "dataset", "Open the dataset"),
    "anonymize": ("web:anonymization", "run", "Open the anonymization"),
    "risk_report": ("web:risk_report", "version", "Open the risk report"),
    "train": ("web:model_version", "model_version", "Open the model"),
    "assess": ("web:model_version", "model_version", "Open the model"),
    "assess_groups": ("web:model_version", "model_version", "Open the model"),
    "export": ("web:model_version", "model_version", "Open the model"),
    "predict": ("web:predict", "model_version", "Open the predictions"),
    "correct": ("web:feedback_detail", "feedback", "Open the feedback"),
}


class PriorityForm(forms.Form):
    """Where a queued job stands among those of its queue."""

    priority = forms.IntegerField(
        min_value=LEAST_PRIORITY,
        max_value=MOST_PRIORITY,
        help_text=f"From {LEAST_PRIORITY} to {MOST_PRIORITY}; normal is "
        f"{NORMAL_PRIORITY}. A higher one starts first.",
    )


@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """The board. The number of queries does not depend on the number of jobs."""
    visible = Job.objects.visible_to(request.user)
    kind = _one_of(registry.kinds(), request.GET.get("kind"))
    queue = _one_of([name.value for name in Queue], request.GET.get("queue"))
    tab = _one_of(_TABS, request.GET.get("tab")) or "all"
    if kind:
        visible = visible.filter(kind=kind)
    if queue:
        visible = visible.filter(queue=queue)
    counts = _counts(visible)
    context = {
        "tabs": [
            {"key": key, "label": label, "count": counts[key]}
            for key, (label, _) in _TABS.items()
        ],
        "tab": tab,
        "kind": kind,
        "kinds": registry.kinds(),
        "queue": queue,
        "queue_names": [name.value for name in Queue],
        "page_obj": _page(visible, tab, counts[tab], request.GET.get("page")),
        "live": bool(counts["queued"] or counts["running"]),
        "board": overview.overview() if _sees_the_queues(request.user) else None,
        "workers": overview.workers() if not _sees_the_queues(request.user) else None,
    }
    return render(request, "jobs/jobs.html", context)


def _one_of(known: Iterable[str], asked: str | None) -> str:
    return asked if asked in set(known) else ""


def _counts(visible: JobQuerySet) -> dict[str, int]:
    by_state = dict(visible.values_list("state").annotate(Count("pk")).order_by())
    counts = {
        key: sum(by_state.get(state, 0) for state in states)
        for key, (_, states) in _TABS.items()
    }
    return counts | {"stuck": visible.lost().count()}


def _page(visible: JobQuerySet, tab: str, count: int, number: str | None) -> Page[Job]:
    shown = visible.lost() if tab == "stuck" else visible
    if tab not in {"all", "stuck"}:
        shown = shown.filter(state__in=_TABS[tab][1])
    shown = shown.select_related("owner").defer("trace", "spec", "result", "message")
    paginator = Paginator(shown, PAGE)
    paginator.count = count  # known already
    return paginator.get_page(number)


def _sees_the_queues(user: Any) -> bool:
    """Figures over everyone's jobs: for those who run or watch the hub."""
    return not user.is_analyst


@require_safe
def job(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _find(request, pk)
    queued = found.state == State.QUEUED
    context = _context(request, found)
    if queued and priorities.may_set_priority(job=found, by=request.user):
        context["priority"] = PriorityForm(initial={"priority": found.priority})
    return render(request, "jobs/job.html", context)


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
        "epsilon_figure": _epsilon_figure(found),
        "may_cancel": is_owner and found.is_open and not found.cancel_requested_at,
        "may_repeat": is_owner and ended_badly and registry.kind(found.kind).again,
        "has_trace": _reads_traces(user) and bool(found.trace),
        "before": _before(found) if queued else 0,
        "no_worker": queued and not _has_worker(found),
        "announcement": f"{found.title}: {found.get_state_display()}, {found.stage}",
    } | _chain(request, found)


def _chain(request: HttpRequest, found: Job) -> dict[str, Any]:
    """The page of what the job waits for, and of what can be ordered to follow it."""
    user, before = request.user, found.depends_on
    runs = AnonymizationRun.objects.visible_to(user).select_related("job", "version")
    if found.state == State.QUEUED and before is not None and before.is_open:
        awaited_run = runs.filter(job=before).first()
        url = ""
        if awaited_run is not None:
            url = reverse("web:anonymization", args=[awaited_run.pk])
        elif Job.objects.visible_to(user).filter(pk=before.pk).exists():
            url = reverse("web:job", args=[before.pk])
        return {"waits_for_url": url, "waits_for_release": awaited_run is not None}
    run = runs.filter(job=found).first() if found.is_open else None
    if run is not None and awaited.is_offered(run, to=user):
        return {"then_train_url": reverse("web:train_after", args=[run.pk])}
    return {}


def _epsilon_figure(found: Job) -> dict[str, Any] | None:
    """Epsilon over the steps that were charged; of a search it would tell its trials.

    A run without privacy spends none.
    """
    run = TrainingRun.objects.filter(job=found).only("plan").first()
    if run is None:
        return None
    return epsilon_over_steps(run.plan, charged=attempts.charged(found).steps)


def _has_worker(found: Job) -> bool:
    return any(
        worker.is_alive and found.queue in worker.queues
        for worker in overview.workers()
    )


def _before(found: Job) -> int:
    """Jobs that wait in the same queue and come first."""
    waiting = Job.objects.claimable().filter(queue=found.queue)
    return waiting.filter(
        Q(priority__gt=found.priority)
        | Q(priority=found.priority, created_at__lt=found.created_at)
    ).count()


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
def job_priority(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _find(request, pk)
    form = PriorityForm(request.POST)
    if not form.is_valid():
        messages.error(request, form.errors["priority"][0])
        return redirect("web:job", pk=found.pk)
    with explained(request) as outcome:
        priorities.set_priority(
            job=found, priority=form.cleaned_data["priority"], by=request.user
        )
    if outcome.ok:
        messages.info(request, "The job's priority was changed.")
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
    path("jobs/<uuid:pk>/priority/", job_priority, name="job_priority"),
    path("jobs/<uuid:pk>/again/", job_again, name="job_again"),
]
