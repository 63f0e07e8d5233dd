"""Predict: a form made of the model's inputs, a file, and one's own predictions."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from privacyhub.api.predictions import batch_file
from privacyhub.deployments import batches, services
from privacyhub.deployments.forms import FileForm, RowForm
from privacyhub.deployments.models import Prediction, PredictionBatch
from privacyhub.training.models import ModelVersion
from privacyhub.web.flash import explained

PAGE = 20


@require_http_methods(["GET", "HEAD", "POST"])
def predict(request: HttpRequest, pk: Any) -> HttpResponse:
    """Ask about one row; the answer has an id that feedback can name."""
    version = _model_version(request, pk)
    with explained(request) as outcome:
        services.require_usable(model_version=version, by=request.user)
    if not outcome.ok:
        return redirect("web:model_version", pk)
    inputs = version.summary.get("inputs", [])
    form = RowForm(request.POST or None, inputs=inputs)
    made: Prediction | None = None
    if request.method == "POST" and form.is_valid():
        with explained(request, form):
            (made,) = services.predict(
                model_version=version, rows=[form.row], by=request.user
            )
    return _page(request, version, form=form, made=made)


@require_POST
def predict_file(request: HttpRequest, pk: Any) -> HttpResponse:
    """Queue the predictions of a file's rows."""
    version = _model_version(request, pk)
    form = FileForm(request.POST, request.FILES)
    if form.is_valid():
        with explained(request, form):
            batch = batches.submit(
                model_version=version,
                file=form.cleaned_data["file"],
                by=request.user,
            )
            return redirect("web:job", batch.job_id)
    row_form = RowForm(inputs=version.summary.get("inputs", []))
    return _page(request, version, form=row_form, file_form=form)


@require_safe
def prediction_batch_file(request: HttpRequest, pk: Any) -> StreamingHttpResponse | Any:
    """The answers of a file, as CSV."""
    batch = get_object_or_404(
        PredictionBatch.objects.visible_to(request.user).select_related("key"), pk=pk
    )
    with explained(request):
        return batch_file(batch=batch, by=request.user)
    return redirect("web:predict", batch.model_version_id)


def _page(
    request: HttpRequest,
    version: ModelVersion,
    *,
    form: RowForm,
    made: Prediction | None = None,
    file_form: FileForm | None = None,
) -> HttpResponse:
    own = (
        Prediction.objects.filter(requested_by=request.user, model_version=version)
        .select_related("model_version__key")
        .defer("sealed_input")
    )
    wrong = bool(form.errors or (file_form and file_form.errors))
    context = {
        "version": version,
        "model": version.model,
        "form": form,
        "file_form": file_form,
        "made": made,
        "figure": _figure(made),
        "page_obj": Paginator(own, PAGE).get_page(request.GET.get("page")),
        "batches": PredictionBatch.objects.visible_to(request.user)
        .filter(model_version=version)
        .select_related("job")[:PAGE],
        "shown_batch": request.GET.get("batch", ""),
    }
    status = 400 if wrong else 200
    return render(request, "predictions/predict.html", context, status=status)


def _figure(made: Prediction | None) -> dict[str, Any] | None:
    """The probabilities as bars."""
    shares = made.output.get("probabilities") if made else None
    if not shares:
        return None
    return {
        "kind": "bar",
        "categories": list(shares),
        "series": [{"name": "Probability", "values": list(shares.values())}],
        "horizontal": True,
        "x": {"title": "Probability", "range": [0, 1]},
    }


def _model_version(request: HttpRequest, pk: Any) -> ModelVersion:
    seen = ModelVersion.objects.visible_to(request.user)
    return get_object_or_404(seen.select_related("model", "key"), pk=pk)


urlpatterns = [
    path("model-versions/<uuid:pk>/predict/", predict, name="predict"),
    path("model-versions/<uuid:pk>/predict/file/", predict_file, name="predict_file"),
    path(
        "prediction-batches/<uuid:pk>/file/",
        prediction_batch_file,
        name="prediction_batch_file",
    ),
]
