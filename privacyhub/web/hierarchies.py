"""Hierarchies: the list with its upload, download, delete."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST

from privacyhub.anonymization import hierarchies as services
from privacyhub.anonymization.models import Hierarchy
from privacyhub.web.flash import explained


class UploadForm(forms.Form):
    """A name and a file in ARX's format."""

    name = forms.CharField(max_length=200)
    file = forms.FileField()


@require_http_methods(["GET", "POST"])
def hierarchies(request: HttpRequest) -> HttpResponse:
    """The user's hierarchies; a POST uploads one."""
    form = UploadForm(request.POST or None, request.FILES or None)
    status = 200
    if request.method == "POST":
        if form.is_valid():
            with explained(request, form) as outcome:
                services.take_in(by=request.user, **form.cleaned_data)
            if outcome.ok:
                return redirect("web:hierarchies")
        status = 400
    found = Hierarchy.objects.visible_to(request.user).select_related("owner")
    context = {"form": form, "hierarchies": found}
    return render(request, "anonymization/hierarchies.html", context, status=status)


@require_POST
def hierarchy_download(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The CSV in ARX's format, as it can be uploaded again."""
    hierarchy = _find(request, pk)
    with explained(request) as outcome:
        text = services.download(hierarchy=hierarchy, by=request.user)
    if not outcome.ok:
        return redirect("web:hierarchies")
    return csv_answer(text, name=f"hierarchy-{hierarchy.pk}.csv")


@require_POST
def hierarchy_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    hierarchy = _find(request, pk)
    with explained(request):
        services.delete(hierarchy=hierarchy, by=request.user)
    return redirect("web:hierarchies")


def csv_answer(text: str, *, name: str) -> HttpResponse:
    """A CSV file as a download."""
    return HttpResponse(
        text,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _find(request: HttpRequest, pk: UUID) -> Hierarchy:
    return get_object_or_404(Hierarchy.objects.visible_to(request.user), pk=pk)


urlpatterns = [
    path("hierarchies/", hierarchies, name="hierarchies"),
    path(
        "hierarchies/<uuid:pk>/download/", hierarchy_download, name="hierarchy_download"
    ),
    path("hierarchies/<uuid:pk>/delete/", hierarchy_delete, name="hierarchy_delete"),
]
