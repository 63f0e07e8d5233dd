"""What could still run: a form on the ledger's page, answered in place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from privacyhub.governance import ledger as books
from privacyhub.governance import statement
from privacyhub.governance.models import Ledger
from privacyhub.training import what_if
from privacyhub.training.what_if import Question


class WhatIfForm(forms.Form):
    """Everything may be left out; `like` and the numbers exclude each other."""

    like = forms.ChoiceField(required=False, label="A run like")
    units = forms.IntegerField(
        required=False, min_value=1, max_value=10**12, label="Units to learn from"
    )
    batch = forms.IntegerField(required=False, min_value=1, label="Expected batch")
    epochs = forms.FloatField(required=False, min_value=0.001, label="Epochs")
    delta = forms.DecimalField(required=False, min_value=Decimal("1e-30"))
    runs = forms.IntegerField(
        required=False, min_value=1, max_value=10_000, label="How often it must fit"
    )
    epsilon = forms.DecimalField(
        required=False,
        min_value=Decimal("0.0001"),
        max_value=1000,
        label="Count runs of epsilon",
    )
    recipient = forms.ChoiceField(required=False, label="For")

    def __init__(self, *args: Any, ledger: Ledger, user: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.known = what_if.recipes(ledger=ledger, user=user)
        self.fields["like"].choices = [  # type: ignore[attr-defined]
            ("", "one by the numbers below"),
            *((str(run.pk), _told(run)) for run in self.known),
        ]
        self.asker = user.username
        self.fields["recipient"].choices = self._recipients(ledger, user)  # type: ignore[attr-defined]

    def _recipients(self, ledger: Ledger, user: Any) -> list[tuple[str, str]]:
        """The asker; where there are caps to read, also each of these, and nobody's."""
        known = statement.recipient_caps(ledger=ledger, user=user)
        caps = known.values_list("recipient", flat=True)
        if not caps:
            return [(self.asker, "you")]
        return [
            (self.asker, "you"),
            *((one, f"{one}: their cap too") for one in caps if one != self.asker),
            ("", "anyone: the ledger's own cap"),
        ]

    def question(self) -> Question:
        said = {
            name: value for name, value in self.cleaned_data.items() if value
        }  # what is left out goes by rule
        if "recipient" not in self.data:
            said["recipient"] = self.asker
        like = said.pop("like", None)
        if like:
            said["like"] = next(run for run in self.known if str(run.pk) == like)
        if "delta" in said:
            said["delta"] = format(said["delta"].normalize(), "f")
        return Question(**said)


def _told(run: Any) -> str:
    epsilon = run.plan.get("epsilon", "")
    return f"{run.model.name}, epsilon {epsilon}, {run.created_at:%d %b %Y}"


@require_safe
def ledger_what_if(request: HttpRequest, pk: Any) -> HttpResponse:
    """The answer alone, which htmx puts under the form; else a page of its own."""
    row = get_object_or_404(Ledger.objects.visible_to(request.user), pk=pk)
    form = WhatIfForm(request.GET or None, ledger=row, user=request.user)
    context: dict[str, Any] = {
        "ledger": row,
        "name": statement.name(ledger=row, user=request.user),
        "what_if": form,
    }
    if form.is_valid():
        question = form.question()
        context["question"] = question
        try:
            context["told"] = what_if.ask(ledger=row, question=question)
        except books.LedgerError as error:
            form.add_error(None, error.message)
    part = request.headers.get("HX-Request") == "true"
    template = "ledgers/what_if_answer.html" if part else "ledgers/what_if.html"
    return render(request, template, context)


urlpatterns: list[URLPattern] = [
    path("ledgers/<uuid:pk>/what-if/", ledger_what_if, name="ledger_what_if"),
]
