"""Models: the leaderboard, a model, a version of it."""

from __future__ import annotations

import base64
from datetime import UTC
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from privacyhub.api import model_files
from privacyhub.assessment import evaluation, metric_names
from privacyhub.assessment.models import Assessment, Report
from privacyhub.datasets import services as datasets
from privacyhub.datasets.models import Dataset, Version, VersionKind
from privacyhub.feedback.models import Feedback
from privacyhub.governance import grants
from privacyhub.training import artefacts, exports, recipes, services, what_if
from privacyhub.training.deliveries import audience_of
from privacyhub.training.forms import ModelShareForm
from privacyhub.training.models import Model, ModelVersion, TrainingRun
from privacyhub.training.plans import capped
from privacyhub.web import model_figures
from privacyhub.web.family_graph import Graph
from privacyhub.web.flash import explained

PAGE = 25
MOST_COMPARED = 6


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """The leaderboard: released utility against epsilon, and a table."""
    wanted = request.GET.getlist("compare")[:MOST_COMPARED]
    page = Paginator(_versions(request.user), PAGE).get_page(request.GET.get("page"))
    entries = [_entry(version, wanted) for version in page.object_list]
    compared = [entry for entry in entries if entry["compared"]]
    context = {
        "page_obj": page,
        "entries": entries,
        "compared": compared,
        "comparison": _comparison(compared),
        "figure": model_figures.leaderboard(entries),
        "may_train": request.user.is_steward,
    }
    return render(request, "models/models.html", context)


@require_safe
def model(request: HttpRequest, pk: Any) -> HttpResponse:
    """A model: versions, guarantee, where it comes from, who may use it."""
    found = get_object_or_404(Model.objects.visible_to(request.user), pk=pk)
    manages = Model.objects.managed_by(request.user).filter(pk=pk).exists()
    versions = list(_versions(request.user).filter(model=found))
    context = {
        "model": found,
        "entries": [_entry(version, []) for version in versions],
        "latest": versions[0] if versions else None,
        "manages": manages,
        "usable": _usable(request.user, found),
        "graph": _graph(request.user, found),
        "runs": TrainingRun.objects.visible_to(request.user)
        .filter(model=found)
        .select_related("job", "owner", "version__dataset", "model_version")[:PAGE],
        "reports": Report.objects.visible_to(request.user).filter(
            model_version__model=found
        )[:PAGE],
        "feedback": Feedback.objects.visible_to(request.user).filter(
            model_version__model=found
        )[:PAGE],
    }
    if manages or request.user.is_auditor:
        context |= {
            "grants": services.grants_of(found),
            "form": ModelShareForm(request.user),
        }
    return render(request, "models/model.html", context)


@require_safe
def model_version(request: HttpRequest, pk: Any) -> HttpResponse:
    """A version: metrics with their labels, guarantee, what can be done with it."""
    version = get_object_or_404(_versions(request.user), pk=pk)
    manages = Model.objects.managed_by(request.user).filter(pk=version.model_id)
    steward = services.may_see_exact(model_id=version.model_id, user=request.user)
    latest = next(iter(version.assessments.all()), None)
    released = latest.released if latest else {}
    exact = latest.exact if latest and steward else None
    context = {
        "version": version,
        "model": version.model,
        "guarantee": version.guarantee,
        "private": version.guarantee.get("covered", False),
        "accounting_version": version.guarantee["versions"].get("dp-accounting"),
        "summary": version.summary,
        "assessment": latest,
        "assess_job": version.run.assess_job if steward else None,
        "steward": steward,
        "manages": manages.exists(),
        "usable": _usable(request.user, version.model),
        "offers": exports.offers(version),
        "public_key": base64.b64encode(artefacts.public_key()).decode(),
        "rows": model_figures.metric_rows(released, exact),
        "released_charts": model_figures.charts(
            released,
            prefix="released",
            note="From one differentially private histogram.",
        ),
        "exact_charts": model_figures.charts(
            exact or {}, prefix="exact", note="Exact, for stewards only."
        ),
        "epsilon_figure": model_figures.epsilon_over_steps(version.run.plan),
        "loss_figure": model_figures.loss(version) if steward else None,
        "is_diverged": steward and None in version.loss_curve,
        "source": version.run.version if steward else None,
        "newer": _newer_versions(version) if manages.exists() else [],
    }
    return render(request, "models/model_version.html", context)


@require_safe
def model_file(request: HttpRequest, pk: Any) -> StreamingHttpResponse | HttpResponse:
    """The model file as a download; it is on the audit trail."""
    version = get_object_or_404(_versions(request.user), pk=pk)
    with explained(request):
        return model_files.model_file(version=version, by=request.user)
    return redirect("web:model_version", pk)


@require_POST
def model_export(request: HttpRequest, pk: Any) -> HttpResponse:
    """Have the version made in another program's format."""
    version = get_object_or_404(_versions(request.user), pk=pk)
    with explained(request):
        offer = exports.request(
            model_version=version,
            form=request.POST.get("format", ""),
            by=request.user,
        )
        if offer.job is not None:
            return redirect("web:job", offer.job.pk)
    return redirect("web:model_version", pk)


@require_safe
def model_export_file(
    request: HttpRequest, pk: Any, form: str
) -> StreamingHttpResponse | HttpResponse:
    """An export as a download; it is on the audit trail."""
    version = get_object_or_404(_versions(request.user), pk=pk)
    with explained(request):
        return model_files.export_file(version=version, form=form, by=request.user)
    return redirect("web:model_version", pk)


@require_POST
def model_share(request: HttpRequest, pk: Any) -> HttpResponse:
    """Give a user a right on the model."""
    found = get_object_or_404(Model.objects.visible_to(request.user), pk=pk)
    form = ModelShareForm(request.user, request.POST)
    if not form.is_valid():
        messages.error(request, "Choose a user and a right.")
        return redirect("web:model", pk)
    asked = form.cleaned_data
    until = asked["expires_at"]
    with explained(request) as outcome:
        services.share(
            model=found,
            user=asked["user"],
            right=asked["right"],
            expires_at=until.replace(tzinfo=UTC) if until else None,
            by=request.user,
        )
    if outcome.ok:
        messages.success(request, f"Shared with {asked['user'].username}.")
    return redirect("web:model", pk)


@require_POST
def model_unshare(request: HttpRequest, pk: Any, grant: Any) -> HttpResponse:
    """Take a right on the model back."""
    found = get_object_or_404(Model.objects.visible_to(request.user), pk=pk)
    with explained(request):
        datasets.require_manager(dataset=found.dataset, by=request.user)
        row = get_object_or_404(services.grants_of(found), pk=grant)
        grants.revoke(grant=row, by=request.user)
    return redirect("web:model", pk)


@require_POST
def model_assess(request: HttpRequest, pk: Any) -> HttpResponse:
    """Another assessment, charged again."""
    version = get_object_or_404(_versions(request.user), pk=pk)
    with explained(request):
        job = evaluation.submit(
            model_version=version,
            by=request.user,
            epsilon=request.POST.get("epsilon", recipes.DEFAULT_METRICS_EPSILON),
        )
        return redirect("web:job", job.pk)
    return redirect("web:model_version", pk)


@require_http_methods(["GET", "HEAD", "POST"])
def model_retrain(request: HttpRequest, pk: Any) -> HttpResponse:
    """The same recipe on another version: its price, then the run."""
    version = get_object_or_404(_versions(request.user), pk=pk)
    if not Model.objects.managed_by(request.user).filter(pk=version.model_id).exists():
        raise PermissionDenied("Only those who manage the dataset can do this.")
    sources = Version.objects.filter(
        dataset=version.model.dataset_id, erased_at=None
    ).select_related("dataset")
    chosen = request.POST.get("version") or request.GET.get("version")
    source = get_object_or_404(sources, pk=chosen) if chosen else version.run.version
    context: dict[str, Any] = {
        "version": version,
        "model": version.model,
        "source": source,
        "sources": sources.order_by("-number"),
    }
    with explained(request):
        asker = request.user.username
        quote = services.price_of_retrain(
            run=version.run, version=source, recipient=asker
        )
        context["quote"] = quote
        accounts = list(source.ledgers.all())
        if not capped(audience_of(version.model), accounts=accounts):
            context["most"] = what_if.largest_like(
                plan=quote.plan,
                recipe=services.recipe_of(version.run),
                accounts=accounts,
                recipient=asker,
            )
        if request.method == "POST":
            run = services.retrain(run=version.run, version=source, by=request.user)
            return redirect("web:job", run.job_id)
    return render(request, "models/retrain.html", context)


def _versions(user: Any) -> QuerySet[ModelVersion]:
    """What the user sees, newest first, each with its assessments."""
    assessed = Assessment.objects.order_by("-created_at")
    return (
        ModelVersion.objects.visible_to(user)
        .select_related("model__dataset", "run__version", "run__assess_job", "key")
        .prefetch_related(Prefetch("assessments", assessed))
    )


def _entry(version: ModelVersion, compared: list[str]) -> dict[str, Any]:
    """A line of the leaderboard. Released figures only."""
    latest = next(iter(version.assessments.all()), None)
    guarantee = version.guarantee
    return {
        "version": version,
        "utility": model_figures.utility(latest, version.model.task),
        "assessment": latest,
        "rows": model_figures.metric_rows(latest.released, None) if latest else [],
        "epsilon": guarantee.get("epsilon") if guarantee.get("covered") else None,
        "delta": guarantee.get("delta"),
        "compared": str(version.pk) in compared,
    }


def _comparison(compared: list[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    """A line a metric, with the released figure of each compared version."""
    told = [{row["name"]: row["released"] for row in e["rows"]} for e in compared]
    names = [n for n in metric_names.NAMES.values() if any(n in one for one in told)]
    return [(name, [one.get(name) for one in told]) for name in names]


def _graph(user: Any, found: Model) -> Graph | None:
    """Where the model comes from, for those who see its dataset."""
    dataset = Dataset.objects.visible_to(user).filter(pk=found.dataset_id).first()
    if dataset is None:
        return None
    return Graph(dataset, user, exact=False)


def _usable(user: Any, found: Model) -> bool:
    return Model.objects.usable_by(user).filter(pk=found.pk).exists()


def _newer_versions(version: ModelVersion) -> list[Version]:
    """Versions of the dataset that came after the one this model learnt from."""
    source = version.run.version
    if source is None:
        return []
    later = Version.objects.filter(
        dataset=version.model.dataset_id, number__gt=source.number, erased_at=None
    ).exclude(kind=VersionKind.ANONYMIZED)
    return list(later.order_by("-number")[:5])


urlpatterns = [
    path("models/", models, name="models"),
    path("models/<uuid:pk>/", model, name="model"),
    path("models/<uuid:pk>/share/", model_share, name="model_share"),
    path(
        "models/<uuid:pk>/share/<uuid:grant>/take/",
        model_unshare,
        name="model_unshare",
    ),
    path("model-versions/<uuid:pk>/", model_version, name="model_version"),
    path("model-versions/<uuid:pk>/file/", model_file, name="model_file"),
    path("model-versions/<uuid:pk>/exports/", model_export, name="model_export"),
    path(
        "model-versions/<uuid:pk>/exports/<slug:form>/",
        model_export_file,
        name="model_export_file",
    ),
    path("model-versions/<uuid:pk>/assess/", model_assess, name="model_assess"),
    path("model-versions/<uuid:pk>/retrain/", model_retrain, name="model_retrain"),
]
