"""Feedback: the analyst's form, the steward's inbox, and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from privacyhub.datasets.errors import DataError
from privacyhub.deployments.models import Prediction
from privacyhub.feedback import services
from privacyhub.feedback.forms import DeclineForm, FeedbackForm
from privacyhub.feedback.models import Decision, Feedback
from privacyhub.governance.keys import KeyDestroyed
from privacyhub.governance.ledger import LedgerError
from privacyhub.training.models import Model, ModelVersion
from privacyhub.training.plans import Quote
from privacyhub.web.flash import explained

PAGE = 50
SHOWN_PREDICTIONS = 25


@dataclass(frozen=True)
class Offer:
    """The price of a retrain for the page, or why there is none."""

    quote: Quote | None
    refused: str = ""


@require_safe
def feedback_list(request: HttpRequest) -> HttpResponse:
    """Open ones first; the counts are of all that the user may read."""
    found = _feedback(request.user)
    counts = {state: found.filter(state=state).count() for state in Decision.values}
    state = request.GET.get("tab", "")
    shown = found.filter(state=state) if state in Decision.values else found
    open_first = Case(
        When(state=Decision.OPEN, then=Value(0)),
        default=Value(1),
        output_field=IntegerField(),
    )
    ordered = shown.order_by(open_first, "-created_at")
    tabs = [{"key": "all", "label": "All", "count": sum(counts.values())}]
    tabs += [
        {"key": key, "label": Decision(key).label, "count": count}
        for key, count in counts.items()
    ]
    context = {
        "page_obj": Paginator(ordered, PAGE).get_page(request.GET.get("page")),
        "tabs": tabs,
        "current": state if state in Decision.values else "all",
        "any": bool(sum(counts.values())),
        "usable": Model.objects.usable_by(request.user).exists(),
    }
    return render(request, "feedback/feedback.html", context)


@require_http_methods(["GET", "POST"])
def feedback_new(request: HttpRequest, pk: Any) -> HttpResponse:
    known = ModelVersion.objects.visible_to(request.user).select_related("model")
    model_version = get_object_or_404(known, pk=pk)
    with explained(request):
        services.require_user(model_version=model_version, by=request.user)
    form = _form(request, model_version)
    if request.method == "POST" and form.is_valid():
        with explained(request, form):
            given = services.submit(
                model_version=model_version,
                author=request.user,
                rating=form.cleaned_data["rating"],
                problem=form.cleaned_data["problem"],
                group=form.cleaned_data["group"],
                text=form.cleaned_data["text"],
                corrections=form.corrections,
            )
            messages.success(request, "Thank you. The data's stewards can read it now.")
            return redirect("web:feedback_detail", given.pk)
    context = {
        "model_version": model_version,
        "form": form,
        "shown": SHOWN_PREDICTIONS,
    }
    status = 400 if form.is_bound and form.errors else 200
    return render(request, "feedback/new.html", context, status=status)


def _form(request: HttpRequest, model_version: ModelVersion) -> FeedbackForm:
    """Offers the user's latest predictions of this model to correct."""
    visible = Prediction.objects.visible_to(request.user)
    mine = visible.select_related("model_version__key").filter(
        model_version=model_version, requested_by=request.user
    )
    return FeedbackForm(
        request.POST if request.method == "POST" else None,
        predictions=list(mine[:SHOWN_PREDICTIONS]),
        classes=model_version.summary.get("classes", []),
    )


@require_safe
def feedback_detail(request: HttpRequest, pk: Any) -> HttpResponse:
    return _detail(request, _find(request, pk))


def _detail(
    request: HttpRequest,
    row: Feedback,
    *,
    decline: DeclineForm | None = None,
    status: int = 200,
) -> HttpResponse:
    decides = services.may_decide(feedback=row, by=request.user)
    retry = decides and services.may_retry(row)
    asked = decides and (row.state == Decision.OPEN or retry)
    context = {
        "feedback": row,
        "run": row.run,
        "made": getattr(row.run, "model_version", None) if row.run else None,
        "decides": decides,
        "retry": retry,
        "offer": _offer(row, request.user) if asked else None,
        "decline": decline or DeclineForm(),
        "corrections": _corrections(row, request.user),
    }
    return render(request, "feedback/detail.html", context, status=status)


def _offer(row: Feedback, user: Any) -> Offer:
    try:
        return Offer(services.price(feedback=row, by=user))
    except (DataError, LedgerError) as error:
        return Offer(None, str(error))


def _corrections(row: Feedback, user: Any) -> list[dict[str, Any]] | None:
    """Each corrected prediction; None when they are not this user's to read."""
    mine = row.author_id == user.pk
    if not row.corrections_count or not (
        mine or services.may_decide(feedback=row, by=user)
    ):
        return None
    try:
        given = services.corrections_for(feedback=row, by=user)
    except KeyDestroyed:
        return None
    named = Prediction.objects.filter(pk__in=[one["prediction"] for one in given])
    told = {
        str(one.pk): one.output for one in named.select_related("model_version__key")
    }
    rows = (row.version.origin.get("rows") or []) if row.version else []
    row_of = {one["prediction"]: one["row"] for one in rows}
    return [
        {
            **one,
            "was": told.get(one["prediction"], {}),
            "row": row_of.get(one["prediction"]),
        }
        for one in given
    ]


@require_POST
def accept(request: HttpRequest, pk: Any) -> HttpResponse:
    row = _find(request, pk)
    with explained(request) as outcome:
        taken = services.accept(feedback=row, by=request.user)
    if not outcome.ok or taken.run is None:
        return redirect("web:feedback_detail", pk)
    messages.success(request, "The retrain is queued and its budget is reserved.")
    return redirect("web:job", (taken.run.job.depends_on or taken.run.job).pk)


@require_POST
def decline(request: HttpRequest, pk: Any) -> HttpResponse:
    row = _find(request, pk)
    form = DeclineForm(request.POST)
    if form.is_valid():
        with explained(request, form):
            services.decline(
                feedback=row, by=request.user, reason=form.cleaned_data["reason"]
            )
            messages.success(request, "Declined. The author can read the reason.")
            return redirect("web:feedback_detail", pk)
    return _detail(request, row, decline=form, status=400)


def _feedback(user: Any) -> QuerySet[Feedback]:
    return Feedback.objects.visible_to(user).select_related(
        "author", "decided_by", "model_version__model", "version", "run__job"
    )


def _find(request: HttpRequest, pk: Any) -> Feedback:
    return get_object_or_404(_feedback(request.user), pk=pk)


urlpatterns = [
    path("feedback/", feedback_list, name="feedback"),
    path("model-versions/<uuid:pk>/feedback/", feedback_new, name="feedback_new"),
    path("feedback/<uuid:pk>/", feedback_detail, name="feedback_detail"),
    path("feedback/<uuid:pk>/accept/", accept, name="feedback_accept"),
    path("feedback/<uuid:pk>/decline/", decline, name="feedback_decline"),
]
