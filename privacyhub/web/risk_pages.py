"""The risk page of a version: attackers, the quasi-identifier finder, Safe Harbor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from jobs.states import State, TooManyJobs
from privacyhub.anonymization import (
    narration,
    risk_report,
    risk_report_runs,
    services,
)
from privacyhub.anonymization.models import RiskReportRun
from privacyhub.anonymization.risk_report import Part, Question
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.datasets.services import require_open
from privacyhub.engines.anonymize import AnonymizeError
from privacyhub.web import anonymization_figures as figures
from privacyhub.web.flash import explained


@require_GET
def risk(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What to ask; the answers are reads of private rows and come by POST.

    For a large table, the latest answer of each part and what is at work.
    """
    version = _managed(request, pk)
    with explained(request) as outcome:
        require_open(version)
    if not outcome.ok:
        return redirect("web:version", pk=version.pk)
    large = risk_report_runs.is_large(version)
    context = {
        "version": version,
        "columns": [
            (column, column.role == Role.QUASI_IDENTIFIER)
            for column in version.columns.all()
        ],
        "population": risk_report.DEFAULT_POPULATION,
        "threshold": 20,
        "large": large,
        "runs": {
            part: risk_report_runs.latest(version=version, part=part)
            for part in (Part.values if large else ())
        },
    }
    return render(request, "anonymization/risk_page.html", context)


@require_POST
def risk_measured(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The risk to attackers who know the ticked columns."""
    version = _managed(request, pk)

    def question() -> Question[Any]:
        return risk_report.asked_of(
            version,
            columns=request.POST.getlist("known"),
            threshold=_number(request.POST, "threshold", 20.0) / 100,
            population=int(
                _number(request.POST, "population", risk_report.DEFAULT_POPULATION)
            ),
        )

    return _asked(request, version, Part.RISK, question)


@require_POST
def risk_finder(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Which columns tell people apart."""
    version = _managed(request, pk)

    def question() -> Question[Any]:
        columns = request.POST.getlist("looked_at")
        return risk_report.looked_at_of(version, columns=columns)

    return _asked(request, version, Part.FINDER, question)


@require_POST
def risk_safe_harbor(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What of the Safe Harbor list the version seems to hold."""
    version = _managed(request, pk)
    return _asked(request, version, Part.SAFE_HARBOR, risk_report.SafeHarbor)


@require_GET
def risk_run(request: HttpRequest, pk: UUID, run: UUID) -> HttpResponse:
    """A part that a job makes: its progress, then its answer."""
    version = _managed(request, pk)
    runs = RiskReportRun.objects.visible_to(request.user).filter(version=version)
    found = get_object_or_404(runs.select_related("job", "version__dataset"), pk=run)
    if found.job.state != State.SUCCEEDED:
        return _at_work(request, found)
    try:
        kept = risk_report_runs.shown(run=found, by=request.user)
    except DataError as error:
        return _answered(request, version, found.part, problem=error.message)
    question = risk_report.question_of(part=found.part, asked=found.asked)
    return _answered(request, version, found.part, answer=question.restored(kept))


def _asked(
    request: HttpRequest,
    version: Version,
    part: str,
    question: Callable[[], Question[Any]],
) -> HttpResponse:
    try:
        found = risk_report_runs.ask(
            version=version, question=question(), by=request.user
        )
    except (DataError, AnonymizeError, TooManyJobs) as error:
        return _answered(request, version, part, problem=str(error))
    if isinstance(found, RiskReportRun):
        return _at_work(request, found)
    return _answered(request, version, part, answer=found)


def _at_work(request: HttpRequest, run: RiskReportRun) -> HttpResponse:
    return render(request, "anonymization/risk_at_work.html", {"run": run})


def _answered(
    request: HttpRequest,
    version: Version,
    part: str,
    *,
    answer: Any = None,
    problem: str = "",
) -> HttpResponse:
    context: dict[str, Any] = {"version": version, "problem": problem}
    if not problem:
        context |= _SHOWN[part](answer)
    return render(request, _TEMPLATES[part], context)


def _risk_shown(report: risk_report.RiskReport) -> dict[str, Any]:
    return {
        "report": report,
        "attackers": narration.attackers_of(before=report.before, after=report.risk),
        "figure": figures.report_sizes(report),
    }


def _finder_shown(report: risk_report.FinderReport) -> dict[str, Any]:
    figure = figures.column_shares(report.column_share)
    return {"report": report, "share_figure": figure}


def _findings_shown(findings: risk_report.Findings) -> dict[str, Any]:
    return {"findings": findings}


_SHOWN: dict[str, Callable[[Any], dict[str, Any]]] = {
    Part.RISK: _risk_shown,
    Part.FINDER: _finder_shown,
    Part.SAFE_HARBOR: _findings_shown,
}
_TEMPLATES: dict[str, str] = {
    Part.RISK: "anonymization/risk_measured.html",
    Part.FINDER: "anonymization/risk_finder.html",
    Part.SAFE_HARBOR: "anonymization/risk_safe_harbor.html",
}


def _managed(request: HttpRequest, pk: UUID) -> Version:
    version = get_object_or_404(
        Version.objects.visible_to(request.user).select_related("dataset"), pk=pk
    )
    with explained(request):
        services.require_manager(version=version, by=request.user)
    return version


def _number(data: Any, name: str, default: float) -> float:
    """What was typed; 0, which every question refuses, where it is no number."""
    text = data.get(name, "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if abs(number) < 1e15 else 0.0


_RISK = "versions/<uuid:pk>/risk-report/"
urlpatterns = [
    path(_RISK, risk, name="risk_report"),
    path(f"{_RISK}attackers/", risk_measured, name="risk_measured"),
    path(f"{_RISK}finder/", risk_finder, name="risk_finder"),
    path(f"{_RISK}safe-harbor/", risk_safe_harbor, name="risk_safe_harbor"),
    path(f"{_RISK}runs/<uuid:run>/", risk_run, name="risk_run"),
]
