"""Who a model is wrong about: its error by declared group."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods

from privacyhub.assessment import group_evaluation
from privacyhub.assessment.metric_names import OF_GROUPS as NAMES
from privacyhub.assessment.models import GroupAssessment
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import the_ledger
from privacyhub.governance import ledger
from privacyhub.training.models import Model, ModelVersion
from privacyhub.web.flash import explained
from privacyhub.web.model_figures import Figure

PAGE = 20


class GroupForm(forms.Form):
    """The column whose declared categories are the groups, and the price."""

    column = forms.ChoiceField(label="Column")
    epsilon = forms.CharField(
        label="Epsilon of a release",
        required=False,
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        help_text="What the held-out units pay for figures that may leave stewards. "
        "Empty: nothing is paid, and only exact figures are made, for stewards.",
    )

    def __init__(self, *args: Any, version: Version | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = group_evaluation.columns_to_group_by(version) if version else []
        field = self.fields["column"]
        field.choices = [(c.name, c.name) for c in found]  # type: ignore[attr-defined]


@require_http_methods(["GET", "HEAD", "POST"])
def group_errors(request: HttpRequest, pk: Any) -> HttpResponse:
    """The errors that were made, and for stewards a form for another."""
    version = get_object_or_404(
        ModelVersion.objects.visible_to(request.user).select_related(
            "model__dataset", "run__version"
        ),
        pk=pk,
    )
    managed = Model.objects.managed_by(request.user)
    manages = managed.filter(pk=version.model_id).exists()
    source = version.run.version
    posted = request.POST if request.method == "POST" else None
    form = GroupForm(posted, version=source)
    if posted is not None and form.is_valid():
        with explained(request, form):
            job = group_evaluation.submit(
                model_version=version, by=request.user, **form.cleaned_data
            )
            return redirect("web:job", job.pk)
    steward = manages or request.user.is_auditor
    seen = GroupAssessment.objects.visible_to(request.user)
    context = {
        "version": version,
        "model": version.model,
        "form": form,
        "manages": manages,
        "steward": steward,
        "balance": ledger.balance(the_ledger(source)) if manages and source else None,
        "found": [
            _shown(row, exact=steward)
            for row in seen.filter(model_version=version)[:PAGE]
        ],
    }
    return render(request, "models/group_errors.html", context)


def _shown(row: GroupAssessment, *, exact: bool) -> dict[str, Any]:
    """A table and a chart; `exact` figures only for those who may see them."""
    told = [("released", row.released)] if row.released else []
    told += [("exact", row.exact)] if exact else []
    names = list(told[0][1][0]["metrics"]) if told else []
    lines = [
        {
            "group": groups[place]["group"],
            "kind": kind.capitalize(),
            "rows": groups[place]["rows"],
            "cells": [(NAMES[name], groups[place]["metrics"][name]) for name in names],
        }
        for place in range(len(told[0][1]) if told else 0)
        for kind, groups in told
    ]
    return {
        "row": row,
        "id": f"groups-{row.pk}",
        "title": f"{NAMES[names[0]]} by {row.column}" if names else "",
        "summary": "Of held-out rows. Their intervals are in the table below.",
        "heads": [NAMES[name] for name in names],
        "lines": lines,
        "figure": _figure(told, names[0], row.column) if names else None,
    }


def _figure(told: list[tuple[str, Any]], name: str, column: str) -> Figure:
    return {
        "kind": "bar",
        "x": {"title": column},
        "y": {"title": NAMES[name]},
        "categories": [group["group"] for group in told[0][1]],
        "series": [
            {
                "name": kind.capitalize(),
                "values": [group["metrics"][name]["value"] or 0 for group in groups],
            }
            for kind, groups in told
        ],
    }


urlpatterns = [
    path("model-versions/<uuid:pk>/groups/", group_errors, name="group_errors"),
]
