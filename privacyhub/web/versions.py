"""A version: its page, columns and roles, budget, preview, download."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from privacyhub.datasets import reads, services
from privacyhub.datasets.forms import BudgetForm, ColumnsForm, VersionShareForm
from privacyhub.datasets.models import Dataset, Version
from privacyhub.governance import ledger
from privacyhub.governance.models import Grant
from privacyhub.web.datasets import columns_context
from privacyhub.web.flash import explained


@require_safe
def version(request: HttpRequest, pk: Any) -> HttpResponse:
    """What it is, where it came from, and what a release of it would mean."""
    return render(request, "datasets/version.html", _context(request, pk))


def _context(request: HttpRequest, pk: Any) -> dict[str, Any]:
    shown = get_object_or_404(
        Version.objects.visible_to(request.user).select_related("dataset__owner"), pk=pk
    )
    manages = Version.objects.managed_by(request.user).filter(pk=pk).exists()
    exact = manages or request.user.is_auditor
    open_ = shown.erased_at is None
    grants = Grant.objects.live().filter(version=shown) if exact else []
    return {
        "version": shown,
        "columns": shown.columns.all(),
        "parents": shown.parents.visible_to(request.user),
        "children": shown.children.visible_to(request.user),
        "sees_dataset": Dataset.objects.visible_to(request.user)
        .filter(pk=shown.dataset_id)
        .exists(),
        "manages": manages and open_,
        "exact": exact,
        "reads_rows": open_ and reads.may_read_rows(version=shown, user=request.user),
        "releasable": shown.kind in services.RELEASABLE,
        "trainable": open_ and shown.kind not in services.RELEASABLE,
        "accounts": shown.ledgers.all() if exact else [],
        "grants": grants,
        "share_form": VersionShareForm(request.user) if manages else None,
    }


@require_safe
def preview(request: HttpRequest, pk: Any) -> HttpResponse:
    """The version's page with some rows; each look is on the record."""
    context = _context(request, pk)
    if request.method == "GET":
        start = request.GET.get("offset", "0")
        offset = int(start[:12]) if start.isdecimal() else 0
        with explained(request) as outcome:
            frame = reads.preview(
                version=context["version"], by=request.user, offset=offset
            )
        if outcome.ok:
            context |= {
                "preview_columns": frame.columns,
                "preview_rows": [
                    [_shown(cell) for cell in row] for row in frame.rows()
                ],
                "offset": offset,
                "before": max(0, offset - reads.PREVIEW_ROWS),
                "after": offset + reads.PREVIEW_ROWS,
                "more": frame.height == reads.PREVIEW_ROWS,
            }
    return render(request, "datasets/version.html", context)


def _shown(cell: Any) -> Any:
    """Dates and times as they are stored, not as a language writes them."""
    return cell.isoformat() if isinstance(cell, date) else cell


@require_safe
def download(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """The version as CSV or Parquet; on the record."""
    shown = get_object_or_404(Version.objects.visible_to(request.user), pk=pk)
    if request.method == "HEAD":
        return HttpResponse()
    form = request.GET.get("format", "csv")
    with explained(request) as outcome:
        file = reads.download(version=shown, by=request.user, form=form)
    if not outcome.ok:
        return redirect("web:version", pk)
    return StreamingHttpResponse(
        file.pieces,
        content_type=file.content_type,
        headers={"Content-Disposition": f'attachment; filename="{file.name}"'},
    )


@require_POST
def columns(request: HttpRequest, pk: Any) -> HttpResponse:
    """Save roles, target, unit key and declared domains."""
    shown = _managed(request, pk)
    form = ColumnsForm(shown, request.POST)
    if form.is_valid():
        with explained(request, form) as outcome:
            services.set_columns(version=shown, changes=form.changes(), by=request.user)
        if outcome.ok:
            messages.success(request, "The columns were saved.")
            return redirect(_columns_tab(shown))
    return _with_errors(request, shown, form=form)


@require_http_methods(["POST"])
def budget(request: HttpRequest, pk: Any) -> HttpResponse:
    """Declare unit, N and caps of the version's family."""
    shown = _managed(request, pk)
    account = services.the_ledger(shown)
    suggested = services.suggested_units(shown)
    form = BudgetForm(shown, account, suggested, request.POST)
    if form.is_valid():
        with explained(request, form) as outcome:
            services.declare_budget(version=shown, by=request.user, **form.cleaned_data)
        if outcome.ok:
            messages.success(request, "The budget was declared.")
            return redirect(_columns_tab(shown))
    return _with_errors(request, shown, budget_form=form)


def _with_errors(request: HttpRequest, shown: Version, **forms: Any) -> HttpResponse:
    """The columns tab again, with what was filled in and what is wrong."""
    context = {
        "dataset": shown.dataset,
        "latest": shown,
        "tab": "columns",
        "manages": True,
        "exact": True,
        "owns": shown.dataset.owner_id == request.user.pk,
        "mending": True,
        **columns_context(shown, user=request.user, exact=True, **forms),
    }
    return render(request, "datasets/tabs/columns.html", context, status=400)


@require_safe
def odds(request: HttpRequest, pk: Any) -> HttpResponse:
    """A fragment: what a cap means in odds, and the delta that N suggests."""
    _managed(request, pk)
    units = request.GET.get("declared_units", "")
    known = units.isdecimal() and int(units[:12]) > 0
    context = {
        "epsilon": _positive(request.GET.get("epsilon_cap", "")),
        "delta": _positive(request.GET.get("delta_cap", "")),
        "default": services.default_delta(int(units[:12])) if known else None,
        "by_key": request.GET.get("unit") == "key",
    }
    return render(request, "datasets/odds.html", context)


def _positive(text: str) -> str | None:
    """The text of a number above 0, else None: a form half filled in is no error."""
    try:
        ledger.positive_decimal(text[:20], name="It")
    except ledger.LedgerError:
        return None
    return text[:20]


@require_safe
def risk(request: HttpRequest, pk: Any) -> HttpResponse:
    """A fragment: the rows that stand alone on the quasi-identifiers of the form."""
    shown = _managed(request, pk)
    chosen = ColumnsForm(shown).quasi_identifiers(request.GET)
    found = None
    if request.method == "GET":
        with explained(request) as outcome:
            found = reads.risk_of(version=shown, columns=chosen, by=request.user)
        if not outcome.ok:
            found = None
    context = {"version": shown, "found": found, "chosen": chosen}
    return render(request, "datasets/risk.html", context)


def _managed(request: HttpRequest, pk: Any) -> Version:
    """404 where it is not seen, 403 where it is only seen."""
    shown = get_object_or_404(
        Version.objects.visible_to(request.user).select_related("dataset"), pk=pk
    )
    if not Version.objects.managed_by(request.user).filter(pk=pk).exists():
        raise PermissionDenied("Only those who manage the dataset can do this.")
    return shown


def _columns_tab(shown: Version) -> str:
    page = reverse("web:dataset", args=[shown.dataset_id])
    return f"{page}?tab=columns&version={shown.number}"


urlpatterns = [
    path("versions/<uuid:pk>/", version, name="version"),
    path("versions/<uuid:pk>/columns/", columns, name="version_columns"),
    path("versions/<uuid:pk>/preview/", preview, name="version_preview"),
    path("versions/<uuid:pk>/download/", download, name="version_download"),
    path("versions/<uuid:pk>/budget/", budget, name="version_budget"),
    path("versions/<uuid:pk>/odds/", odds, name="version_odds"),
    path("versions/<uuid:pk>/risk/", risk, name="version_risk"),
]
