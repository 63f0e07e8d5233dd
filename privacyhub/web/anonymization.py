"""Anonymization: the form with its live parts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST

from privacyhub.anonymization import (
    family,
    hierarchies,
    narration,
    policy_seals,
    policy_templates,
    reading,
    services,
)
from privacyhub.anonymization.models import AnonymizationRun, PolicyTemplate
from privacyhub.anonymization.policies import AUTOMATIC
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import require_open
from privacyhub.engines.anonymize import AnonymizeError
from privacyhub.governance import keys
from privacyhub.web import anonymization_form as forms
from privacyhub.web import anonymization_runs, risk_pages
from privacyhub.web import hierarchies as hierarchy_pages
from privacyhub.web import policy_templates as template_pages
from privacyhub.web.anonymization_runs import whole_number
from privacyhub.web.flash import explained


@require_http_methods(["GET", "POST"])
def anonymize(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Choose hierarchies, models and limits; see how risky the columns are."""
    version = _managed(request, pk)
    with explained(request) as outcome:
        require_open(version)
    if not outcome.ok:
        return redirect("web:version", pk=version.pk)
    if request.method == "POST":
        form = forms.of_request(version, request.POST, user=request.user)
        if "add_model" in request.POST or "remove" in request.POST:
            return _form_page(request, form)  # without JavaScript
        return _submitted(request, form)
    policy = _started_from(request, version)
    if policy is None:
        return _form_page(request, forms.fresh(version, user=request.user))
    filled = forms.of_policy(version, policy, user=request.user)
    filled.notes = policy_templates.differences(version=version, policy=policy)
    return _form_page(request, filled)


def _submitted(request: HttpRequest, form: forms.PolicyForm) -> HttpResponse:
    with explained(request, form) as outcome:
        run = services.submit(
            version=form.version,
            policy=forms.policy_of(form),
            only_plan="only_plan" in request.POST,
            recipient=form.recipient,
            by=request.user,
        )
    if not outcome.ok:
        return _form_page(request, form, status=400)
    return redirect("web:job", pk=run.job_id)


def _form_page(
    request: HttpRequest, form: forms.PolicyForm, *, status: int = 200
) -> HttpResponse:
    context = {
        "form": form,
        "version": form.version,
        "releases": family.releases(form.version),
        "templates": PolicyTemplate.objects.visible_to(request.user),
        "visible": set(
            Version.objects.visible_to(request.user).values_list("pk", flat=True)
        ),
    }
    return render(request, "anonymization/anonymize.html", context, status=status)


def _started_from(request: HttpRequest, version: Version) -> dict[str, Any] | None:
    """The policy that the form starts from: a run's (`?from=`) or a template's."""
    runs = AnonymizationRun.objects.visible_to(request.user)
    run = runs.filter(pk=_id(request, "from"), version__dataset=version.dataset_id)
    templates = PolicyTemplate.objects.visible_to(request.user)
    template = templates.filter(pk=_id(request, "template"))
    earlier = run.select_related("version__key").first()
    if earlier is not None:
        return _typed(earlier)
    found = template.first()
    return None if found is None else found.policy


def _typed(run: AnonymizationRun) -> dict[str, Any]:
    """A run's policy as it was typed; without a value whose version was erased."""
    models = run.policy["models"]
    try:
        models = policy_seals.opened(models, version=run.version)
    except keys.KeyDestroyed:
        models = policy_seals.without(models)
    return {**run.policy, "models": models}


def _id(request: HttpRequest, name: str) -> UUID | None:
    try:
        return UUID(request.GET.get(name, ""))
    except ValueError:
        return None


@require_POST
def anonymize_models(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The list of models with one more or one less."""
    version = _managed(request, pk)
    form = forms.of_request(version, request.POST, user=request.user)
    return render(request, "anonymization/models.html", {"form": form})


@require_POST
def anonymize_columns(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The columns with the fields of the treatments that were chosen."""
    version = _managed(request, pk)
    form = forms.of_request(version, request.POST, user=request.user)
    return render(request, "anonymization/columns.html", {"form": form})


@require_POST
def anonymize_risk(request: HttpRequest, pk: UUID) -> HttpResponse:
    """How risky the columns are that an attacker is taken to know."""
    version = _managed(request, pk)
    columns = list(dict.fromkeys(request.POST.getlist("known")))
    context: dict[str, Any] = {"version": version, "columns": columns}
    try:
        risk = reading.live_risk(version=version, columns=columns, by=request.user)
    except (DataError, AnonymizeError) as error:
        context["problem"] = str(error)
        context["by_job"] = getattr(error, "code", "") == reading.BY_JOB
    else:
        context |= {
            "risk": risk,
            "highest": narration.one_in(risk.prosecutor.highest),
            "average": narration.one_in(risk.prosecutor.average),
            "unique_share": risk.unique_rows / max(risk.rows, 1),
        }
    return render(request, "anonymization/risk.html", context)


@require_POST
def anonymize_hierarchy(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The levels of a column's hierarchy: values, so it is on the record."""
    version = _managed(request, pk)
    column = get_object_or_404(
        version.columns, pk=whole_number(request.POST.get("preview"))
    )
    chosen = request.POST.get(f"hierarchy-{column.pk}", AUTOMATIC)
    context: dict[str, Any] = {
        "version": version,
        "column": column,
        "hierarchy": chosen,
    }
    try:
        context["preview"] = hierarchies.preview(
            version=version, column=column.name, hierarchy=chosen, by=request.user
        )
    except DataError as error:
        context["problem"] = error.message
    return render(request, "anonymization/hierarchy.html", context)


@require_POST
def anonymize_hierarchy_csv(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A column's hierarchy in ARX's format, to edit and upload again."""
    version = _managed(request, pk)
    column = get_object_or_404(
        version.columns, pk=whole_number(request.POST.get("column"))
    )
    with explained(request) as outcome:
        text = hierarchies.download_for_column(
            version=version,
            column=column.name,
            hierarchy=request.POST.get("hierarchy", AUTOMATIC),
            by=request.user,
        )
    if not outcome.ok:
        return redirect("web:anonymize", pk=version.pk)
    return hierarchy_pages.csv_answer(text, name=f"hierarchy-{column.position + 1}.csv")


def _managed(request: HttpRequest, pk: UUID) -> Version:
    """A version that the user may anonymize; 403 where it can only be seen."""
    version = get_object_or_404(
        Version.objects.visible_to(request.user).select_related("dataset"), pk=pk
    )
    with explained(request):
        services.require_manager(version=version, by=request.user)
    return version


_FORM = "versions/<uuid:pk>/anonymize/"
urlpatterns = [
    path(_FORM, anonymize, name="anonymize"),
    path(f"{_FORM}models/", anonymize_models, name="anonymize_models"),
    path(f"{_FORM}columns/", anonymize_columns, name="anonymize_columns"),
    path(f"{_FORM}risk/", anonymize_risk, name="anonymize_risk"),
    path(f"{_FORM}hierarchy/", anonymize_hierarchy, name="anonymize_hierarchy"),
    path(
        f"{_FORM}hierarchy.csv", anonymize_hierarchy_csv, name="anonymize_hierarchy_csv"
    ),
    *anonymization_runs.urlpatterns,
    *hierarchy_pages.urlpatterns,
    *risk_pages.urlpatterns,
    *template_pages.urlpatterns,
]
