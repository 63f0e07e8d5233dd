"""Hierarchies: the list with its upload, the builder, the editor, download, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST

from privacyhub.anonymization import hierarchies as services
from privacyhub.anonymization import hierarchy_edits as edits
from privacyhub.anonymization import services as anonymization
from privacyhub.anonymization.hierarchy_builders import BUILDERS
from privacyhub.anonymization.models import Hierarchy
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Column, Version
from privacyhub.datasets.services import require_open
from privacyhub.web.flash import explained

EDITED_ROWS = 25


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


@require_http_methods(["GET", "POST"])
def hierarchy_builder(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Build a hierarchy for a column (`?column=`); a POST previews or keeps it."""
    version = get_object_or_404(
        Version.objects.visible_to(request.user).select_related("dataset"), pk=pk
    )
    with explained(request) as outcome:
        anonymization.require_manager(version=version, by=request.user)
        require_open(version)
    if not outcome.ok:
        return redirect("web:version", pk=version.pk)
    sent = request.POST if request.method == "POST" else request.GET
    columns = list(version.columns.all())
    column = _column(columns, sent.get("column", ""))
    kind = BUILDERS.get(sent.get("builder", ""), BUILDERS["automatic"])
    given = {
        one.name: request.POST.get(f"{kind.name}-{one.name}", one.default)
        for one in kind.fields
    }
    context: dict[str, Any] = {
        "version": version,
        "columns": columns,
        "column": column,
        "builders": BUILDERS.values(),
        "kind": kind,
        "fields": [(one, given[one.name]) for one in kind.fields],
        "name": request.POST.get("name", "") or column.name,
    }
    if request.method == "GET":
        return render(request, "anonymization/hierarchy_builder.html", context)
    try:
        found, context["preview"] = services.build(
            version=version,
            column=column.name,
            builder=kind.name,
            given=given,
            by=request.user,
        )
        if "keep" in request.POST:
            kept = services.keep(
                name=request.POST.get("name", ""), found=found, by=request.user
            )
            messages.success(request, f"“{kept.name}” was kept.")
            return redirect("web:hierarchy", pk=kept.pk)
    except DataError as error:
        context["problem"] = error.message
    status = 400 if "problem" in context else 200
    return render(
        request, "anonymization/hierarchy_builder.html", context, status=status
    )


def _column(columns: list[Column], key: str) -> Column:
    """The named column, or the version's first quasi-identifier, or its first."""
    named = [one for one in columns if str(one.pk) == key]
    telling = [one for one in columns if one.role == "quasi_identifier"]
    return (named or telling or columns)[0]


@require_http_methods(["GET", "POST"])
def hierarchy(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Look at a hierarchy and edit it: cells, labels, levels, values."""
    found = _find(request, pk)
    if request.method == "POST":
        with explained(request) as outcome:
            _edit(request, found)
        if outcome.ok:
            messages.success(request, "The hierarchy was changed.")
        where = redirect("web:hierarchy", pk=found.pk)
        where["Location"] += f"?offset={_whole(request.POST.get('offset'))}"
        return where
    opened = services.open_for_editing(hierarchy=found, by=request.user)
    offset = min(_whole(request.GET.get("offset")), max(len(opened.levels) - 1, 0))
    offset -= offset % EDITED_ROWS
    rows = opened.levels[offset : offset + EDITED_ROWS]
    owns = found.owner_id == request.user.pk
    context = {
        "hierarchy": found,
        "owns": owns,
        "preview": services.preview_of(opened),
        "rows": [(offset + place, row) for place, row in enumerate(rows)],
        "levels": range(1, opened.height + 1),
        "inner_levels": range(1, opened.height),
        "offset": offset,
        "before": max(0, offset - EDITED_ROWS),
        "after": offset + EDITED_ROWS,
        "more": offset + EDITED_ROWS < len(opened.levels),
        "columns": _own_columns(request) if owns else [],
    }
    return render(request, "anonymization/hierarchy_editor.html", context)


def _own_columns(request: HttpRequest) -> list[Column]:
    """Columns whose values could be placed: of the latest versions first."""
    managed = Version.objects.managed_by(request.user).filter(erased_at=None)
    found = Column.objects.filter(version__in=managed.values("pk"))
    found = found.filter(role="quasi_identifier").select_related("version__dataset")
    return list(found.order_by("-version__created_at", "position")[:200])


def _edit(request: HttpRequest, found: Hierarchy) -> None:
    change = request.POST.get("change", "")
    told: dict[str, Any] = {}
    if change == "set_cells":
        told["cells"] = _cells(request, found)
    elif change == "place_missing":
        told["values"] = _values(request)
    else:
        told = {
            key: request.POST[key]
            for key in ("old", "new", "value")
            if key in request.POST
        }
        if "level" in request.POST:
            told["level"] = _whole(request.POST["level"])
    edits.edit(hierarchy=found, change=change, by=request.user, **told)


def _cells(request: HttpRequest, found: Hierarchy) -> list[dict[str, Any]]:
    """The cells of the page that were typed over: `cell-<row>-<level>`."""
    levels = services.read(found).levels
    changed = []
    for name, text in request.POST.items():
        parts = name.split("-")
        if parts[0] != "cell" or len(parts) != 3 or not isinstance(text, str):
            continue
        row, level = _whole(parts[1]), _whole(parts[2])
        if (
            row < len(levels)
            and level < len(levels[row])
            and levels[row][level] != text
        ):
            changed.append({"value": levels[row][0], "level": level, "new": text})
    if not changed:
        raise DataError("No cell was changed.", code="edit")
    return changed


def _values(request: HttpRequest) -> Any:
    managed = Version.objects.managed_by(request.user)
    columns = Column.objects.filter(version__in=managed.values("pk"))
    column = columns.filter(pk=_whole(request.POST.get("column"))).first()
    if column is None:
        raise DataError("Choose a column.", code="no_column")
    return services.column_values(
        version=column.version, column=column.name, by=request.user, action="place"
    )


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
    seen = Hierarchy.objects.visible_to(request.user).select_related("owner", "key")
    return get_object_or_404(seen, pk=pk)


def _whole(text: str | None) -> int:
    """A whole number from a form; 0 where there is none."""
    known = text and text.isascii() and text.isdigit() and len(text) < 10
    return int(text) if known and text else 0


urlpatterns = [
    path("hierarchies/", hierarchies, name="hierarchies"),
    path("hierarchies/<uuid:pk>/", hierarchy, name="hierarchy"),
    path(
        "hierarchies/<uuid:pk>/download/", hierarchy_download, name="hierarchy_download"
    ),
    path("hierarchies/<uuid:pk>/delete/", hierarchy_delete, name="hierarchy_delete"),
    path(
        "versions/<uuid:pk>/hierarchy-builder/",
        hierarchy_builder,
        name="hierarchy_builder",
    ),
]
