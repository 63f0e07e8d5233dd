"""Anonymization: the form with its live parts, and the page of a run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from jobs.states import State
from privacyhub.accounts.roles import NotAllowed
from privacyhub.anonymization import (
    family,
    hierarchies,
    narration,
    policies,
    policy_seals,
    policy_templates,
    reading,
    services,
    utility,
)
from privacyhub.anonymization.models import AnonymizationRun, PolicyTemplate
from privacyhub.anonymization.policies import AUTOMATIC
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import require_open
from privacyhub.engines.anonymize import AnonymizeError
from privacyhub.governance import keys
from privacyhub.web import anonymization_figures as figures
from privacyhub.web import anonymization_form as forms
from privacyhub.web import hierarchies as hierarchy_pages
from privacyhub.web import policy_templates as template_pages
from privacyhub.web import risk_pages
from privacyhub.web.flash import explained

MOST_ALTERNATIVES = 8


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
    column = get_object_or_404(version.columns, pk=_number(request.POST.get("preview")))
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
    column = get_object_or_404(version.columns, pk=_number(request.POST.get("column")))
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


@require_GET
def anonymization(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A run: its state, and what it found."""
    run = _run(request, pk)
    manages = Version.objects.managed_by(request.user)
    context: dict[str, Any] = {
        "run": run,
        "version": run.version,
        "manages": manages.filter(pk=run.version_id).exists(),
        "policy": run.policy,
    }
    if run.result:
        context |= _outcome(request, run, manages=context["manages"])
    return render(request, "anonymization/run.html", context)


def _outcome(
    request: HttpRequest, run: AnonymizationRun, *, manages: bool
) -> dict[str, Any]:
    told = run.result
    picked = _picked(request, told)
    levels = picked["levels"] if picked else list(told["levels"].values())
    return {
        "result": told,
        "loss_figure": figures.column_loss(told),
        "sizes_figure": figures.class_sizes(told),
        "utility_figure": figures.utility(told),
        "space_figure": figures.solution_space(told, pick=manages),
        "attackers": narration.attackers(told),
        "explanation": narration.explain(told),
        "score": narration.score_text(told, told["score"]),
        "picked_score": picked and narration.score_text(told, picked["score"]),
        "utility": told.get("utility"),
        "utility_lines": (
            utility.sentences(told["utility"]) if told.get("utility") else []
        ),
        "others_apply": _others_apply(run),
        "alternatives": _alternatives(told),
        "joint": narration.joint(told),
        "joint_is_worse": bool(told["joint"] and any(told["joint"]["rows_below"][-1:])),
        "others": [r for r in family.releases(run.version) if r.pk != run.release_id],
        "applied": services.applied_from(run),
        "picked": picked,
        "suppressed_hint": (
            f"{told['suppressed'] / max(told['rows'], 1):.2%} of {told['rows']:,}; "
            f"limit {told['limit']:,}"
        ),
        "space_summary": _space_summary(told),
        "columns": [
            {
                "name": name,
                "level": told["levels"][name],
                "picked": level,
                "height": told["heights"][name],
                "choices": range(told["heights"][name] + 1),
                "loss": (told["column_loss"] or {}).get(name),
            }
            for name, level in zip(told["columns"], levels, strict=True)
        ],
    }


def _others_apply(run: AnonymizationRun) -> bool:
    """Whether the run has other solutions that could be released."""
    policy = run.policy
    full = policy.get("method", policies.FULL_DOMAIN) == policies.FULL_DOMAIN
    return full and not policies.is_dp(policy)


def _alternatives(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The best nodes besides the one that was taken: the plot without a mouse."""
    taken = list(told["levels"].values())
    holding = [
        (index, node)
        for index, node in enumerate(told["nodes"])
        if node["score"] is not None and node["levels"] != taken
    ]
    ranked = sorted(holding, key=lambda pair: pair[1]["score"])[:MOST_ALTERNATIVES]
    return [
        {
            "index": index,
            "levels": figures.levels_text(told, node["levels"]),
            "suppressed": node["suppressed"],
            "score": narration.score_text(told, node["score"]),
        }
        for index, node in ranked
    ]


def _space_summary(told: dict[str, Any]) -> str:
    shown, known = len(told["nodes"]), told["nodes_total"]
    part = "" if shown == known else f" {shown:,} of {known:,} are shown."
    return (
        f"{told['checked']:,} of {told['lattice_size']:,} were computed, the others "
        f"ruled out.{part} The ringed point is the best."
    )


def _picked(request: HttpRequest, told: dict[str, Any]) -> dict[str, Any] | None:
    """The node of the plot that was chosen (`?node=`)."""
    index = _number(request.GET.get("node"))
    nodes = told["nodes"]
    return nodes[index] if 0 <= index < len(nodes) else None


@require_GET
def anonymization_live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The part of the page that follows a job that is at work."""
    run = _run(request, pk)
    answer = render(request, "anonymization/live.html", {"run": run})
    if not run.job.is_open:
        answer.headers["HX-Refresh"] = "true"
    return answer


@require_POST
def anonymization_rows(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Some rows before and after: for stewards, and on the record."""
    run = _run(request, pk)
    context: dict[str, Any] = {"run": run}
    try:
        context["rows"] = reading.compare_rows(run=run, by=request.user)
    except (DataError, NotAllowed) as error:
        context["problem"] = error.message
    return render(request, "anonymization/rows.html", context)


@require_POST
def anonymization_apply(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Release what was held, or another node of the solution space."""
    run = _run(request, pk)
    if run.job.state != State.SUCCEEDED:
        messages.error(request, "This run found no solution.")
        return redirect("web:anonymization", pk=run.pk)
    levels = None
    if "another" in request.POST:
        levels = {
            name: _number(request.POST.get(f"level-{place}"))
            for place, name in enumerate(run.result["columns"])
        }
    elif "confirm_joint" not in request.POST and family.releases(run.version):
        messages.error(request, "Confirm the joint risk first.")
        return redirect("web:anonymization", pk=run.pk)
    with explained(request) as outcome:
        fresh = services.apply(
            run=run,
            levels=levels,
            confirm_joint="confirm_joint" in request.POST,
            recipient=request.POST.get("recipient", ""),
            by=request.user,
        )
    if not outcome.ok:
        return redirect("web:anonymization", pk=run.pk)
    return redirect("web:job", pk=fresh.job_id)


@require_GET
def anonymization_policy(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The policy as a JSON file; it holds no values of the data."""
    run = _run(request, pk)
    policy = {key: value for key, value in run.policy.items() if key != "apply"}
    policy["models"] = policy_seals.without(policy["models"])
    name = f"policy-{run.pk}.json"
    return JsonResponse(
        policy,
        json_dumps_params={"indent": 2},
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _managed(request: HttpRequest, pk: UUID) -> Version:
    """A version that the user may anonymize; 403 where it can only be seen."""
    version = get_object_or_404(
        Version.objects.visible_to(request.user).select_related("dataset"), pk=pk
    )
    with explained(request):
        services.require_manager(version=version, by=request.user)
    return version


def _run(request: HttpRequest, pk: UUID) -> AnonymizationRun:
    runs = AnonymizationRun.objects.visible_to(request.user)
    return get_object_or_404(
        runs.select_related("job", "owner", "version__dataset", "release"), pk=pk
    )


def _number(text: str | None) -> int:
    """A whole number from a form; -1 is never a level, a node or a key."""
    return int(text) if text and text.isascii() and text.isdigit() else -1


_FORM, _RUN = "versions/<uuid:pk>/anonymize/", "anonymizations/<uuid:pk>/"
urlpatterns = [
    path(_FORM, anonymize, name="anonymize"),
    path(f"{_FORM}models/", anonymize_models, name="anonymize_models"),
    path(f"{_FORM}columns/", anonymize_columns, name="anonymize_columns"),
    path(f"{_FORM}risk/", anonymize_risk, name="anonymize_risk"),
    path(f"{_FORM}hierarchy/", anonymize_hierarchy, name="anonymize_hierarchy"),
    path(
        f"{_FORM}hierarchy.csv", anonymize_hierarchy_csv, name="anonymize_hierarchy_csv"
    ),
    path(_RUN, anonymization, name="anonymization"),
    path(f"{_RUN}live/", anonymization_live, name="anonymization_live"),
    path(f"{_RUN}rows/", anonymization_rows, name="anonymization_rows"),
    path(f"{_RUN}apply/", anonymization_apply, name="anonymization_apply"),
    path(f"{_RUN}policy.json", anonymization_policy, name="anonymization_policy"),
    *hierarchy_pages.urlpatterns,
    *risk_pages.urlpatterns,
    *template_pages.urlpatterns,
]
