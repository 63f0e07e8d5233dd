"""The privacy ledger: what each family may spend, has spent and has left."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST, require_safe

from privacyhub.accounts.roles import Permission
from privacyhub.governance import ledger as books
from privacyhub.governance import statement
from privacyhub.governance.models import CapRequest, Ledger
from privacyhub.web.flash import explained

PAGE = 50


class RaiseForm(forms.Form):
    epsilon_cap = forms.CharField(max_length=40, label="New cap on epsilon")
    reason = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), max_length=2000)


@require_safe
def ledgers(request: HttpRequest) -> HttpResponse:
    found = Ledger.objects.visible_to(request.user)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    rows = [_summary(row, request.user) for row in page]
    return render(request, "ledgers/ledgers.html", {"page_obj": page, "rows": rows})


def _summary(row: Ledger, user: Any) -> dict[str, Any]:
    return {
        "ledger": row,
        "name": statement.name(ledger=row, user=user),
        "balance": books.balance(row),
        "low": statement.is_low(row),
    }


@require_safe
def ledger(request: HttpRequest, pk: Any) -> HttpResponse:
    return _page(request, _find(request, pk))


def _page(
    request: HttpRequest, row: Ledger, *, form: RaiseForm | None = None
) -> HttpResponse:
    user = request.user
    lines = statement.entries(ledger=row, user=user)
    points = statement.spending(ledger=row, user=user)
    context = {
        **_summary(row, user),
        "page_obj": Paginator(lines, PAGE).get_page(request.GET.get("page")),
        "others": statement.others(ledger=row, user=user),
        "requests": statement.cap_requests(ledger=row, user=user),
        "figure": _figure(row, points) if points else None,
        "form": form or RaiseForm(),
        "may_ask": user.may(Permission.MANAGE_DATA) and row.is_declared,
        "may_decide": user.may(Permission.APPROVE_CAPS),
    }
    status = 400 if form is not None else 200
    return render(request, "ledgers/ledger.html", context, status=status)


def _figure(row: Ledger, points: list[Any]) -> dict[str, Any]:
    return {
        "kind": "steps",
        "points": [
            {"at": at.isoformat(), "value": used, "label": purpose}
            for at, used, purpose in points
        ],
        "cap": row.epsilon_cap,
        "cap_label": f"cap {row.epsilon_cap}",
        "y": {"title": "Epsilon used of the cap"},
    }


@require_POST
def ledger_raise(request: HttpRequest, pk: Any) -> HttpResponse:
    row = _find(request, pk)
    form = RaiseForm(request.POST)
    if form.is_valid():
        with explained(request, form) as outcome:
            books.request_raise(ledger=row, by=request.user, **form.cleaned_data)
        if outcome.ok:
            messages.success(request, "An auditor decides about your request.")
            return redirect("web:ledger", pk=row.pk)
    return _page(request, row, form=form)


@require_POST
def cap_decide(request: HttpRequest, pk: Any) -> HttpResponse:
    visible = Ledger.objects.visible_to(request.user)
    wish = get_object_or_404(CapRequest, pk=pk, ledger__in=visible)
    approve = request.POST.get("decision") == "approve"
    with explained(request) as outcome:
        books.decide_raise(request=wish, approve=approve, by=request.user)
    if outcome.ok:
        done = "The cap is raised." if approve else "The request is declined."
        messages.success(request, done)
    return redirect("web:ledger", pk=wish.ledger_id)


def _find(request: HttpRequest, pk: Any) -> Ledger:
    return get_object_or_404(Ledger.objects.visible_to(request.user), pk=pk)


urlpatterns: list[URLPattern] = [
    path("ledgers/", ledgers, name="ledgers"),
    path("ledgers/<uuid:pk>/", ledger, name="ledger"),
    path("ledgers/<uuid:pk>/raise/", ledger_raise, name="ledger_raise"),
    path("cap-requests/<uuid:pk>/decide/", cap_decide, name="cap_decide"),
]
