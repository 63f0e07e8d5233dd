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
from privacyhub.governance import gaps, statement
from privacyhub.governance import ledger as books
from privacyhub.governance.models import CapRequest, Ledger
from privacyhub.web.flash import explained
from privacyhub.web.what_if import WhatIfForm

PAGE = 50


class RaiseForm(forms.Form):
    recipient = forms.ChoiceField(required=False, label="Whose cap")
    epsilon_cap = forms.CharField(max_length=40, label="New cap on epsilon")
    reason = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), max_length=2000)

    def __init__(self, *args: Any, ledger: Ledger, user: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        caps = statement.recipient_caps(ledger=ledger, user=user)
        self.fields["recipient"].choices = [  # type: ignore[attr-defined]
            ("", "the ledger's own"),
            *((cap.recipient, cap.recipient) for cap in caps),
        ]


class RecipientCapForm(forms.Form):
    recipient = forms.CharField(max_length=150, label="Recipient")
    epsilon_cap = forms.CharField(max_length=40, label="Cap on epsilon")


@require_safe
def ledgers(request: HttpRequest) -> HttpResponse:
    found = Ledger.objects.visible_to(request.user)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    rows = [_summary(row, request.user) for row in page]
    context = {"page_obj": page, "rows": rows, "gap": gaps.find(page)}
    return render(request, "ledgers/ledgers.html", context)


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
    request: HttpRequest,
    row: Ledger,
    *,
    form: RaiseForm | None = None,
    cap_form: RecipientCapForm | None = None,
) -> HttpResponse:
    user = request.user
    caps = statement.recipient_caps(ledger=row, user=user)
    lines = statement.entries(ledger=row, user=user)
    points = statement.spending(ledger=row, user=user)
    context = {
        **_summary(row, user),
        "page_obj": Paginator(lines, PAGE).get_page(request.GET.get("page")),
        "others": statement.others(ledger=row, user=user),
        "requests": statement.cap_requests(ledger=row, user=user),
        "figure": _figure(row, points) if points else None,
        "form": form or RaiseForm(ledger=row, user=user),
        "cap_form": cap_form or RecipientCapForm(),
        "recipient_caps": [(cap, books.balance(row, of=cap)) for cap in caps],
        "what_if": WhatIfForm(ledger=row, user=user) if row.is_declared else None,
        "gap": gaps.find([row]),
        "may_ask": user.may(Permission.MANAGE_DATA) and row.is_declared,
        "may_decide": user.may(Permission.APPROVE_CAPS),
    }
    status = 400 if form is not None or cap_form is not None else 200
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
    form = RaiseForm(request.POST, ledger=row, user=request.user)
    if form.is_valid():
        with explained(request, form) as outcome:
            books.request_raise(ledger=row, by=request.user, **form.cleaned_data)
        if outcome.ok:
            messages.success(request, "An auditor decides about your request.")
            return redirect("web:ledger", pk=row.pk)
    return _page(request, row, form=form)


@require_POST
def recipient_cap(request: HttpRequest, pk: Any) -> HttpResponse:
    row = _find(request, pk)
    form = RecipientCapForm(request.POST)
    if form.is_valid():
        with explained(request, form) as outcome:
            books.set_recipient_cap(ledger=row, by=request.user, **form.cleaned_data)
        if outcome.ok:
            messages.success(request, "The recipient's cap is set.")
            return redirect("web:ledger", pk=row.pk)
    return _page(request, row, cap_form=form)


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
    path(
        "ledgers/<uuid:pk>/recipient-caps/", recipient_cap, name="ledger_recipient_cap"
    ),
    path("cap-requests/<uuid:pk>/decide/", cap_decide, name="cap_decide"),
]
