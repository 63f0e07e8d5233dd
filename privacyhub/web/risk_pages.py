"""The risk page of a version: attackers, the quasi-identifier finder, Safe Harbor."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from privacyhub.anonymization import narration, risk_report, services
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.datasets.services import require_open
from privacyhub.engines.anonymize import AnonymizeError
from privacyhub.web import anonymization_figures as figures
from privacyhub.web.flash import explained


@require_GET
def risk(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What to ask; the answers are reads of private rows and come by POST."""
    version = _managed(request, pk)
    with explained(request) as outcome:
        require_open(version)
    if not outcome.ok:
        return redirect("web:version", pk=version.pk)
    context = {
        "version": version,
        "columns": [
            (column, column.role == Role.QUASI_IDENTIFIER)
            for column in version.columns.all()
        ],
        "population": risk_report.DEFAULT_POPULATION,
        "threshold": 20,
    }
    return render(request, "anonymization/risk_page.html", context)


@require_POST
def risk_measured(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The risk to attackers who know the ticked columns."""
    version = _managed(request, pk)
    context: dict[str, Any] = {"version": version}
    try:
        found = risk_report.measure(
            version=version,
            asked=risk_report.asked_of(
                version,
                columns=request.POST.getlist("known"),
                threshold=_number(request.POST, "threshold", 20.0) / 100,
                population=int(
                    _number(request.POST, "population", risk_report.DEFAULT_POPULATION)
                ),
            ),
            by=request.user,
        )
    except (DataError, AnonymizeError) as error:
        context["problem"] = str(error)
    else:
        context |= {
            "report": found,
            "attackers": narration.attackers_of(before=found.before, after=found.risk),
            "figure": figures.report_sizes(found),
        }
    return render(request, "anonymization/risk_measured.html", context)


@require_POST
def risk_finder(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Which columns tell people apart."""
    version = _managed(request, pk)
    context: dict[str, Any] = {"version": version}
    try:
        context["report"] = risk_report.find_quasi_identifiers(
            version=version, columns=request.POST.getlist("looked_at"), by=request.user
        )
    except (DataError, AnonymizeError) as error:
        context["problem"] = str(error)
    else:
        context["share_figure"] = figures.column_shares(context["report"].column_share)
    return render(request, "anonymization/risk_finder.html", context)


@require_POST
def risk_safe_harbor(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What of the Safe Harbor list the version seems to hold."""
    version = _managed(request, pk)
    context: dict[str, Any] = {"version": version}
    try:
        context["findings"] = risk_report.safe_harbor(version=version, by=request.user)
    except (DataError, AnonymizeError) as error:
        context["problem"] = str(error)
    return render(request, "anonymization/risk_safe_harbor.html", context)


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
]
