"""The audit trail, for auditors and administrators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from privacyhub.accounts.roles import Permission
from privacyhub.governance import audit as trail

PAGE = 50


class FilterForm(forms.Form):
    actor = forms.CharField(required=False, max_length=150, label="Who")
    action = forms.CharField(required=False, max_length=60)
    object_type = forms.CharField(required=False, max_length=40, label="Kind of object")
    object_id = forms.CharField(required=False, max_length=40, label="Object id")
    since = forms.DateField(
        required=False,
        label="From",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    until = forms.DateField(
        required=False,
        label="To",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )


@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    _require_reader(request)
    form = FilterForm(request.GET)
    lines = trail.select(**_wanted(form))
    page = Paginator(lines, PAGE).get_page(request.GET.get("page"))
    filtered = any(form.data.get(name) for name in form.fields)
    context = {"form": form, "page_obj": page, "filtered": filtered}
    return render(request, "audit/audit.html", context)


def _wanted(form: FilterForm) -> dict[str, Any]:
    form.is_valid()  # a filter that cannot be read is shown and not applied
    return {name: value for name, value in form.cleaned_data.items() if value}


@require_safe
def audit_verify(request: HttpRequest) -> HttpResponse:
    """Recomputes the whole chain: a part of the page that loads by itself."""
    _require_reader(request)
    return render(request, "audit/verified.html", {"bad": trail.first_bad_row()})


@require_safe
def audit_csv(request: HttpRequest) -> StreamingHttpResponse:
    _require_reader(request)
    wanted = _wanted(FilterForm(request.GET))
    trail.record(
        actor=request.user,
        action="audit.export",
        object_type="auditevent",
        filters=sorted(wanted),
    )
    return StreamingHttpResponse(
        trail.to_csv(trail.select(**wanted)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
    )


def _require_reader(request: HttpRequest) -> None:
    if not request.user.may(Permission.READ_AUDIT):
        raise PermissionDenied


urlpatterns: list[URLPattern] = [
    path("audit/", audit, name="audit"),
    path("audit/verify/", audit_verify, name="audit_verify"),
    path("audit/export/", audit_csv, name="audit_csv"),
]
