"""Lines that a restore has lost: seen, and acknowledged by two people."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods

from privacyhub.governance import gaps, heads
from privacyhub.governance.models import LedgerGap
from privacyhub.web.flash import explained


class AcknowledgeForm(forms.Form):
    reason = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=2000,
        label="What happened",
    )


@require_http_methods(["GET", "HEAD", "POST"])
def ledger_gap(request: HttpRequest) -> HttpResponse:
    if not gaps.may_acknowledge(request.user):
        raise PermissionDenied
    form = AcknowledgeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with explained(request, form) as outcome:
            row = gaps.acknowledge(by=request.user, **form.cleaned_data)
        if outcome.ok:
            closed = row.second_at is not None
            said = "The gap is closed." if closed else "A second person must follow."
            messages.success(request, said)
            return redirect("web:ledger_gap")
    gap = gaps.find()
    context = {
        "gap": gap,
        "missed": [
            {**head, "at": parse_datetime(head["at"])}
            for head in (gap.heads if gap else ())
        ],
        "first": gaps.open_gap(),
        "closed": LedgerGap.objects.exclude(second_at=None).select_related(
            "first_by", "second_by"
        ),
        "folder": heads.folder(),
        "form": form,
    }
    return render(
        request, "ledgers/gap.html", context, status=400 if form.errors else 200
    )


urlpatterns: list[URLPattern] = [
    path("ledgers/gap/", ledger_gap, name="ledger_gap"),
]
