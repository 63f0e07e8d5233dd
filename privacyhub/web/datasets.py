"""Datasets: list, upload, the dataset's page with its tabs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from privacyhub.accounts.roles import Permission
from privacyhub.datasets import intake, reads, services
from privacyhub.datasets.forms import (
    BudgetForm,
    ColumnsForm,
    DescriptionForm,
    HandOverForm,
    ShareForm,
    UploadForm,
)
from privacyhub.datasets.models import Dataset, Role, Version
from privacyhub.datasets.uploads import SealedUpload
from privacyhub.engines.tables import TableProfile
from privacyhub.governance import ledger, statement
from privacyhub.governance.models import Grant
from privacyhub.web import profile_figures
from privacyhub.web.family_graph import Graph
from privacyhub.web.flash import explained

PAGE = 25
LEDGER_LINES = 10
_TABS = (
    ("pipeline", "Pipeline", "git-branch"),
    ("columns", "Columns and roles", "columns"),
    ("quality", "Quality", "chart-bar"),
    ("versions", "Versions", "versions"),
    ("access", "Access", "users"),
    ("ledger", "Ledger", "receipt"),
)
_STEWARD_TABS = frozenset({"quality", "access", "ledger"})


@require_safe
def datasets(request: HttpRequest) -> HttpResponse:
    """Families with what is known of them; exact figures for stewards only."""
    seen = Dataset.objects.visible_to(request.user).select_related("owner")
    managed = set(Dataset.objects.managed_by(request.user).values_list("pk", flat=True))
    page = Paginator(seen, PAGE).get_page(request.GET.get("page"))
    alone = Version.objects.visible_to(request.user).exclude(dataset__in=seen)
    context = {
        "page_obj": page,
        "families": [
            _family(one, exact=request.user.is_auditor or one.pk in managed)
            for one in page
        ],
        "shared_versions": alone.select_related("dataset"),
        "may_upload": request.user.may(Permission.MANAGE_DATA),
    }
    return render(request, "datasets/datasets.html", context)


def _family(dataset: Dataset, *, exact: bool) -> dict[str, Any]:
    latest = dataset.latest
    account = services.the_ledger(latest) if exact and latest else None
    return {
        "dataset": dataset,
        "latest": latest,
        "versions": dataset.versions.count(),
        "exact": exact,
        "identifiers": latest.columns.filter(role=Role.IDENTIFIER).count()
        if latest
        else 0,
        "ledger": account if account and account.is_declared else None,
        "balance": ledger.balance(account) if account else None,
    }


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """A file and what a person says of it; refused, it leaves nothing."""
    _require_steward(request)
    form = UploadForm(request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST":
        status = 400
        file = request.FILES.get("file")
        if not isinstance(file, SealedUpload):
            form.add_error(None, "Choose a file.")
        elif form.is_valid():
            with explained(request, form) as outcome:
                job = intake.take_in(file=file, by=request.user, **form.cleaned_data)
            if outcome.ok:
                return redirect("web:job", job.pk)
    return render(request, "datasets/upload.html", {"form": form}, status=status)


@require_POST
def sample(request: HttpRequest) -> HttpResponse:
    """Take in the generated register, the way of every other file."""
    _require_steward(request)
    with explained(request) as outcome:
        job = intake.load_sample(by=request.user)
    return redirect("web:job", job.pk) if outcome.ok else redirect("web:datasets")


def _require_steward(request: HttpRequest) -> None:
    if not request.user.may(Permission.MANAGE_DATA):
        raise PermissionDenied("Only stewards upload tables.")


@require_safe
def dataset(request: HttpRequest, pk: Any) -> HttpResponse:
    """The page of a family: one tab at a time."""
    shown = get_object_or_404(Dataset.objects.visible_to(request.user), pk=pk)
    manages = Dataset.objects.managed_by(request.user).filter(pk=pk).exists()
    exact = manages or request.user.is_auditor
    open_tabs = [tab for tab in _TABS if exact or tab[0] not in _STEWARD_TABS]
    keys = [tab[0] for tab in open_tabs]
    tab = request.GET.get("tab", "pipeline")
    tab = tab if tab in keys else "pipeline"
    latest = shown.latest
    context = {
        "dataset": shown,
        "latest": latest,
        "tab": tab,
        "tabs": [
            {"key": key, "label": label, "symbol": symbol}
            for key, label, symbol in open_tabs
        ],
        "manages": manages and shown.erased_at is None,
        "owns": shown.owner_id == request.user.pk and shown.erased_at is None,
        "exact": exact,
        "describe_form": DescriptionForm(instance=shown),
    }
    if latest is not None:
        context |= _TAB_CONTEXT[tab](request, shown, latest, exact)
    return render(request, f"datasets/tabs/{tab}.html", context)


def _pipeline(
    request: HttpRequest, shown: Dataset, latest: Version, exact: bool
) -> dict[str, Any]:
    graph = Graph(shown, request.user, exact=exact)
    return {
        "nodes": graph.nodes,
        "edges": graph.edges,
        "target": latest.target,
        "account": services.the_ledger(latest) if exact else None,
    }


def _columns(
    request: HttpRequest, shown: Dataset, latest: Version, exact: bool
) -> dict[str, Any]:
    version = _chosen(request, shown, latest)
    return columns_context(version, user=request.user, exact=exact)


def columns_context(
    version: Version,
    *,
    user: Any,
    exact: bool,
    form: ColumnsForm | None = None,
    budget_form: BudgetForm | None = None,
) -> dict[str, Any]:
    """What the columns tab shows, also where a form comes back with errors."""
    found: dict[str, Any] = {
        "version": version,
        "versions": version.dataset.versions.order_by("-number"),
        "form": form or ColumnsForm(version),
    }
    if exact:
        account = services.the_ledger(version)
        suggested = services.suggested_units(version)
        found |= {
            "account": account,
            "may_declare": ledger.may_declare(account, user),
            "suggested": suggested,
            "budget_form": budget_form or BudgetForm(version, account, suggested),
        }
    return found


def _quality(
    request: HttpRequest, shown: Dataset, latest: Version, exact: bool
) -> dict[str, Any]:
    version = _chosen(request, shown, latest)
    found = {
        "version": version,
        "versions": shown.versions.order_by("-number"),
        "profile": None,
    }
    if version.erased_at is None:
        told = reads.profile(version=version, by=request.user)
        found |= {
            "profile": told,
            "figures": profile_figures.figures(told),
            **_missing(told),
        }
    return found


def _missing(told: TableProfile) -> dict[str, Any]:
    missing = sum(column.missing for column in told.columns)
    cells = told.rows * len(told.columns)
    return {"missing": missing, "missing_share": f"{missing / cells:.1%} of all cells"}


def _versions(
    request: HttpRequest, shown: Dataset, latest: Version, exact: bool
) -> dict[str, Any]:
    seen = shown.versions.visible_to(request.user).order_by("-number")
    return {
        "versions": seen.select_related("created_by").prefetch_related("parents"),
        "releasable": services.RELEASABLE,
    }


def _access(
    request: HttpRequest, shown: Dataset, latest: Version, exact: bool
) -> dict[str, Any]:
    live = Grant.objects.live().select_related("user", "given_by", "version")
    return {
        "grants": [
            *live.filter(dataset=shown),
            *live.filter(version__dataset=shown),
        ],
        "share_form": ShareForm(request.user),
        "hand_over_form": HandOverForm(request.user),
    }


def _ledger(
    request: HttpRequest, shown: Dataset, latest: Version, exact: bool
) -> dict[str, Any]:
    accounts = latest.ledgers.order_by("created_at")
    return {
        "accounts": [
            {
                "ledger": account,
                "name": statement.name(ledger=account, user=request.user),
                "balance": ledger.balance(account) if account.is_declared else None,
                "entries": statement.entries(ledger=account, user=request.user)[
                    :LEDGER_LINES
                ],
            }
            for account in accounts
        ]
    }


_TAB_CONTEXT = {
    "pipeline": _pipeline,
    "columns": _columns,
    "quality": _quality,
    "versions": _versions,
    "access": _access,
    "ledger": _ledger,
}


def _chosen(request: HttpRequest, shown: Dataset, latest: Version) -> Version:
    """The version that `?version=3` names, else the latest."""
    number = request.GET.get("version", "")
    if not number.isdecimal():
        return latest
    return shown.versions.filter(number=int(number[:9])).first() or latest


@require_POST
def describe(request: HttpRequest, pk: Any) -> HttpResponse:
    """Change what is said of a dataset."""
    shown = managed_dataset(request, pk)
    form = DescriptionForm(request.POST)
    if form.is_valid():
        with explained(request) as outcome:
            services.describe(dataset=shown, by=request.user, **form.cleaned_data)
        if outcome.ok:
            messages.success(request, "The description was saved.")
    else:
        messages.error(request, "A dataset needs a name.")
    return redirect("web:dataset", pk)


@require_POST
def refresh(request: HttpRequest, pk: Any) -> HttpResponse:
    """The next version from a new file."""
    shown = managed_dataset(request, pk)
    file = request.FILES.get("file")
    if not isinstance(file, SealedUpload):
        messages.error(request, "Choose a file.")
        return _to_tab(pk, "versions")
    with explained(request) as outcome:
        job = intake.take_in(file=file, by=request.user, dataset=shown)
    return redirect("web:job", job.pk) if outcome.ok else _to_tab(pk, "versions")


def managed_dataset(request: HttpRequest, pk: Any) -> Dataset:
    """404 where it is not seen, 403 where it is only seen."""
    shown = get_object_or_404(Dataset.objects.visible_to(request.user), pk=pk)
    with explained(request):
        services.require_manager(dataset=shown, by=request.user)
    return shown


def _to_tab(pk: Any, tab: str) -> HttpResponse:
    answer = redirect("web:dataset", pk)
    answer["Location"] += f"?tab={tab}"
    return answer


urlpatterns = [
    path("datasets/", datasets, name="datasets"),
    path("datasets/upload/", upload, name="dataset_upload"),
    path("datasets/sample/", sample, name="dataset_sample"),
    path("datasets/<uuid:pk>/", dataset, name="dataset"),
    path("datasets/<uuid:pk>/describe/", describe, name="dataset_describe"),
    path("datasets/<uuid:pk>/refresh/", refresh, name="dataset_refresh"),
]
