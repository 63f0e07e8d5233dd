"""Reports: list, page, PDF and JSON; sign and share."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from privacyhub.accounts.models import User
from privacyhub.accounts.roles import Permission
from privacyhub.api.problems import problem
from privacyhub.assessment import report_fields, report_pdf, reports
from privacyhub.assessment.models import Report
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.governance.models import Grant
from privacyhub.training.models import ModelVersion
from privacyhub.web.flash import explained

PAGE = 50
CHARTS = {
    "odds": (
        "Epsilon in odds",
        "How often, of 100, an attacker who starts from a coin flip is right at most.",
    ),
    "roc": ("ROC curve", "Released with noise, covered by the guarantee."),
}


class ShareForm(forms.Form):
    user = forms.CharField(max_length=150, label="User name")


@require_safe
def report_list(request: HttpRequest) -> HttpResponse:
    found = Report.objects.visible_to(request.user).select_related(
        "created_by", "signed_by"
    )
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    return render(request, "reports/reports.html", {"page_obj": page})


@require_safe
def report(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _find(request, pk)
    manages = reports.may_manage(report=found, by=request.user)
    drawn = found.content.get("charts") or {}
    context = {
        "report": found,
        "figures": found.content["figures"],
        "sections": report_fields.shown(found.content),
        "charts": [
            {"id": f"chart-{name}", "title": title, "text": text, "figure": drawn[name]}
            for name, (title, text) in CHARTS.items()
            if name in drawn
        ],
        "intact": reports.is_intact(found),
        "may_sign": request.user.may(Permission.SIGN_REPORTS)
        and found.signed_at is None,
        "manages": manages,
        "grants": Grant.objects.live().filter(report=found).select_related("user")
        if manages
        else [],
        "share_form": ShareForm(),
        "pdf": report_pdf.is_available(),
        "pdf_packages": report_pdf.PACKAGES,
    }
    return render(request, "reports/report.html", context)


@require_safe
def report_as_pdf(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _find(request, pk)
    try:
        document = report_pdf.render(found)
    except report_pdf.PdfMissing as error:
        return problem(status=503, title=str(error), code="pdf_missing")
    reports.note_download(report=found, by=request.user, form="pdf")
    return _download(found, document, kind="application/pdf", suffix="pdf")


@require_safe
def report_as_json(request: HttpRequest, pk: Any) -> HttpResponse:
    """The canonical JSON: its SHA-256 is the one that the report shows."""
    found = _find(request, pk)
    reports.note_download(report=found, by=request.user, form="json")
    document = reports.canonical(found.content)
    return _download(found, document, kind="application/json", suffix="json")


def _download(
    found: Report, document: bytes, *, kind: str, suffix: str
) -> HttpResponse:
    name = f"attachment; filename=report-{found.pk}.{suffix}"
    return HttpResponse(
        document, content_type=kind, headers={"Content-Disposition": name}
    )


@require_POST
def create_of_model(request: HttpRequest, pk: Any) -> HttpResponse:
    known = ModelVersion.objects.visible_to(request.user)
    model_version = get_object_or_404(known, pk=pk)
    with explained(request):
        made = reports.create(by=request.user, model_version=model_version)
        return redirect("web:report", made.pk)
    return redirect("web:model_version", pk)


@require_POST
def create_of_version(request: HttpRequest, pk: Any) -> HttpResponse:
    version = get_object_or_404(Version.objects.visible_to(request.user), pk=pk)
    with explained(request):
        made = reports.create(by=request.user, version=version)
        return redirect("web:report", made.pk)
    return redirect("web:version", pk)


@require_POST
def sign(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _find(request, pk)
    with explained(request):
        reports.sign(report=found, by=request.user)
        messages.success(request, "The report is signed.")
    return redirect("web:report", pk)


@require_POST
def share(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _find(request, pk)
    form = ShareForm(request.POST)
    with explained(request):
        reports.require_manager(report=found, by=request.user)
        name = form.cleaned_data["user"] if form.is_valid() else ""
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise DataError("There is no such user.", code="no_user")
        reports.share(report=found, user=user, by=request.user)
        messages.success(request, f"{user} can read the report.")
    return redirect("web:report", pk)


@require_POST
def unshare(request: HttpRequest, pk: Any, grant: Any) -> HttpResponse:
    found = _find(request, pk)
    given = get_object_or_404(Grant.objects.live(), pk=grant, report=found)
    with explained(request):
        reports.unshare(report=found, grant=given, by=request.user)
        messages.success(request, "The report is no longer shared with them.")
    return redirect("web:report", pk)


def _find(request: HttpRequest, pk: Any) -> Report:
    readable = Report.objects.visible_to(request.user)
    return get_object_or_404(
        readable.select_related("created_by", "signed_by", "model_version", "version"),
        pk=pk,
    )


urlpatterns = [
    path("reports/", report_list, name="reports"),
    path("reports/<uuid:pk>/", report, name="report"),
    path("reports/<uuid:pk>/report.pdf", report_as_pdf, name="report_pdf"),
    path("reports/<uuid:pk>/report.json", report_as_json, name="report_json"),
    path("reports/<uuid:pk>/sign/", sign, name="report_sign"),
    path("reports/<uuid:pk>/share/", share, name="report_share"),
    path("reports/<uuid:pk>/share/<uuid:grant>/", unshare, name="report_unshare"),
    path(
        "model-versions/<uuid:pk>/report/", create_of_model, name="report_create_model"
    ),
    path("versions/<uuid:pk>/report/", create_of_version, name="report_create_version"),
]
