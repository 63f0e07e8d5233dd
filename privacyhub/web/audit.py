"""The audit trail, for auditors and administrators."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import (
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from privacyhub.accounts.roles import Permission
from privacyhub.governance import audit as trail
from privacyhub.governance import head_files, heads
from privacyhub.governance.verification import verify

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
    context = {
        "form": form,
        "page_obj": page,
        "filtered": filtered,
        "head": heads.hub(),
        "public_key": heads.public_key(),
        "fingerprint": heads.fingerprint(),
        "beside_the_data": head_files.on_one_disk(
            settings.AUDIT_HEADS_DIR, settings.VAR_DIR
        ),
    }
    return render(request, "audit/audit.html", context)


def _wanted(form: FilterForm) -> dict[str, Any]:
    form.is_valid()  # a filter that cannot be read is shown and not applied
    return {name: value for name, value in form.cleaned_data.items() if value}


@require_safe
def audit_verify(request: HttpRequest) -> HttpResponse:
    """Recomputes every chain: a part of the page that loads by itself."""
    _require_reader(request)
    return render(request, "audit/verified.html", {"told": verify()})


@require_safe
def audit_head(request: HttpRequest) -> HttpResponse:
    """The trail's end, signed, as a file to keep elsewhere."""
    _require_reader(request)
    signed = heads.audit_head()
    name = f"audit-head-{signed['statement']['sequence']}.json"
    return JsonResponse(
        signed,
        json_dumps_params={"indent": 1},
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


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
    path("audit/head/", audit_head, name="audit_head"),
    path("audit/export/", audit_csv, name="audit_csv"),
]
