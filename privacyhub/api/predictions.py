"""Predictions: of rows in a request, of the rows of a file."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.deployments import batches, services
from privacyhub.deployments.models import Prediction, PredictionBatch
from privacyhub.training.models import ModelVersion

CSV = "text/csv"


class PredictionBody(serializers.ModelSerializer[Prediction]):
    """One answer. Its id is what feedback names; its input is not shown again."""

    output = serializers.DictField(
        help_text="label, probability, probabilities; of a regression, value"
    )

    class Meta:
        model = Prediction
        fields = ("id", "model_version", "batch", "output", "created_at")
        read_only_fields = fields


class RowsBody(serializers.Serializer[Any]):
    """Rows by column name. A column that is left out counts as missing."""

    rows = serializers.ListField(
        child=serializers.DictField(), help_text="at most 1000"
    )


class PredictionsBody(serializers.Serializer[Any]):
    """The answers, in the order of the rows."""

    predictions = PredictionBody(many=True)


class RowsFile(serializers.Serializer[Any]):
    """A CSV or Parquet file; columns that the model does not read are left out."""

    file = serializers.FileField()


class BatchBody(serializers.ModelSerializer[PredictionBatch]):
    """The predictions of one file."""

    job = serializers.UUIDField(source="job_id")
    state = serializers.CharField(source="job.state")

    class Meta:
        model = PredictionBatch
        fields = ("id", "model_version", "job", "state", "rows", "created_at")
        read_only_fields = fields


class BatchAccepted(Accepted):
    """The job, and the batch that holds its result."""

    batch = serializers.UUIDField()


class PredictionQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    model_version = serializers.UUIDField(required=False)
    batch = serializers.UUIDField(required=False)


class Predict(APIView):
    """Ask a model about some rows."""

    @extend_schema(
        operation_id="model_versions_predict",
        request=RowsBody,
        responses={200: PredictionsBody, **problems(400, 401, 403, 404, 409, 410)},
    )
    @idempotent
    def post(self, request: Request, pk: Any) -> Response:
        version = _model_version(request.user, pk)
        body = RowsBody(data=request.data)
        body.is_valid(raise_exception=True)
        made = services.predict(
            model_version=version, rows=body.validated_data["rows"], by=request.user
        )
        return Response(PredictionsBody({"predictions": made}).data)


class PredictFile(APIView):
    """Ask a model about the rows of a file."""

    parser_classes = (MultiPartParser,)

    @extend_schema(
        operation_id="model_versions_predict_file",
        request={"multipart/form-data": RowsFile},
        responses={202: BatchAccepted, **problems(400, 401, 403, 404, 409, 413, 429)},
    )
    @idempotent
    def post(self, request: Request, pk: Any) -> Response:
        version = _model_version(request.user, pk)
        body = RowsFile(data=request.data)
        body.is_valid(raise_exception=True)
        batch = batches.submit(
            model_version=version, file=body.validated_data["file"], by=request.user
        )
        return accepted(batch.job, batch=str(batch.pk))


class PredictionList(ListAPIView):
    """The user's own predictions, and those of models that the user manages."""

    serializer_class = PredictionBody

    def get_queryset(self) -> QuerySet[Prediction]:
        if getattr(self, "swagger_fake_view", False):
            return Prediction.objects.none()
        query = PredictionQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        seen = Prediction.objects.visible_to(self.request.user)
        found = seen.filter(**query.validated_data)
        return found.select_related("model_version__key").defer("sealed_input")

    @extend_schema(
        operation_id="predictions_list",
        parameters=[PredictionQuery],
        responses={200: PredictionBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class PredictionDetail(APIView):
    """One prediction."""

    @extend_schema(
        operation_id="predictions_retrieve",
        responses={200: PredictionBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        seen = Prediction.objects.visible_to(request.user)
        return Response(PredictionBody(find(seen, pk)).data)


class BatchDetail(APIView):
    """The predictions of one file."""

    @extend_schema(
        operation_id="prediction_batches_retrieve",
        responses={200: BatchBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return Response(BatchBody(_batch(request.user, pk)).data)


class BatchFile(APIView):
    """The answers as CSV, with an id for each row."""

    @extend_schema(
        operation_id="prediction_batches_file",
        responses={
            (200, CSV): OpenApiTypes.BINARY,
            **problems(401, 404, 409, 410),
        },
    )
    def get(self, request: Request, pk: Any) -> StreamingHttpResponse:
        return batch_file(batch=_batch(request.user, pk), by=request.user)


def batch_file(*, batch: PredictionBatch, by: Any) -> StreamingHttpResponse:
    """The answers as a download, once it is on the audit trail."""
    return StreamingHttpResponse(
        batches.download(batch=batch, by=by),
        content_type=CSV,
        headers={
            "Content-Disposition": f'attachment; filename="predictions-{batch.pk}.csv"'
        },
    )


def _model_version(user: Any, pk: Any) -> ModelVersion:
    seen = ModelVersion.objects.visible_to(user).select_related("key", "model")
    return find(seen, pk)


def _batch(user: Any, pk: Any) -> PredictionBatch:
    seen = PredictionBatch.objects.visible_to(user).select_related("key", "job")
    return find(seen, pk)


urlpatterns = [
    path("model-versions/<uuid:pk>/predict/", Predict.as_view(), name="predict"),
    path(
        "model-versions/<uuid:pk>/predictions/",
        PredictFile.as_view(),
        name="predict_file",
    ),
    path("predictions/", PredictionList.as_view(), name="predictions"),
    path("predictions/<uuid:pk>/", PredictionDetail.as_view(), name="prediction"),
    path(
        "prediction-batches/<uuid:pk>/", BatchDetail.as_view(), name="prediction_batch"
    ),
    path(
        "prediction-batches/<uuid:pk>/file/",
        BatchFile.as_view(),
        name="prediction_batch_file",
    ),
]
