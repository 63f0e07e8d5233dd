"""A model version's files: the signed model file, and exports to other programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import Http404, StreamingHttpResponse
from django.urls import path, reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.api.trained_models import versions_of
from privacyhub.training import exports
from privacyhub.training.models import ExportFormat, ModelVersion

FILE_TYPE = "application/zip"
ONNX_TYPE = "application/octet-stream"


class ExportRequest(serializers.Serializer[Any]):
    """Which program's format."""

    format = serializers.ChoiceField(choices=ExportFormat.choices)


class ExportBody(serializers.Serializer[Any]):
    """A format of a version. It is made once, by a job that compares predictions."""

    format = serializers.ChoiceField(choices=ExportFormat.choices)
    made = serializers.SerializerMethodField(help_text="it can be downloaded")
    job = serializers.UUIDField(
        source="job.pk", default=None, help_text="that is making it"
    )
    size = serializers.IntegerField(source="made.size", default=None, help_text="bytes")
    sha256 = serializers.CharField(source="made.sha256", default=None)
    difference = serializers.FloatField(
        source="made.difference",
        default=None,
        help_text="largest difference of a prediction from the model's, on 256 "
        "made-up rows; never above 1e-5",
    )
    url = serializers.SerializerMethodField()

    @extend_schema_field(serializers.BooleanField())
    def get_made(self, offer: exports.Offer) -> bool:
        return offer.made is not None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_url(self, offer: exports.Offer) -> str | None:
        if offer.made is None:
            return None
        version = offer.made.model_version_id
        return reverse("api:model_export_file", args=[version, offer.format.value])


class ModelVersionFile(APIView):
    """The model file: weights, architecture, encoder and guarantee, signed."""

    @extend_schema(
        operation_id="model_versions_file",
        responses={
            (200, FILE_TYPE): OpenApiTypes.BINARY,
            **problems(401, 403, 404, 409, 410),
        },
    )
    def get(self, request: Request, pk: Any) -> StreamingHttpResponse:
        version = find(versions_of(request.user), pk)
        return model_file(version=version, by=request.user)


class ModelExports(APIView):
    """The version in other programs' formats; a POST has one made."""

    @extend_schema(
        operation_id="model_versions_exports_list",
        responses={200: ExportBody(many=True), **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        version = find(versions_of(request.user), pk)
        return Response(ExportBody(exports.offers(version), many=True).data)

    @extend_schema(
        operation_id="model_versions_exports_create",
        request=ExportRequest,
        responses={
            200: ExportBody,
            202: Accepted,
            **problems(400, 401, 403, 404, 409, 429),
        },
    )
    @idempotent
    def post(self, request: Request, pk: Any) -> Response:
        version = find(versions_of(request.user), pk)
        body = ExportRequest(data=request.data)
        body.is_valid(raise_exception=True)
        offer = exports.request(
            model_version=version,
            form=body.validated_data["format"],
            by=request.user,
        )
        if offer.job is None:
            return Response(ExportBody(offer).data)
        return accepted(offer.job)


class ModelExportFile(APIView):
    """An export that was made: a zip with a SavedModel, or an ONNX file."""

    @extend_schema(
        operation_id="model_versions_exports_file",
        responses={
            (200, FILE_TYPE): OpenApiTypes.BINARY,
            (200, ONNX_TYPE): OpenApiTypes.BINARY,
            **problems(401, 403, 404, 409, 410),
        },
    )
    def get(self, request: Request, pk: Any, form: str) -> StreamingHttpResponse:
        version = find(versions_of(request.user), pk)
        return export_file(version=version, form=form, by=request.user)


def model_file(*, version: ModelVersion, by: Any) -> StreamingHttpResponse:
    """The file as a download, once it is on the audit trail."""
    return _attached(
        exports.download(model_version=version, by=by),
        name=f"model-{version.pk}.zip",
        content_type=FILE_TYPE,
    )


def export_file(*, version: ModelVersion, form: str, by: Any) -> StreamingHttpResponse:
    """An export as a download; 404 where it was not made."""
    export = version.exports.filter(format=form).first()
    if export is None:
        raise Http404
    is_onnx = form == ExportFormat.ONNX
    suffix = "onnx" if is_onnx else "savedmodel.zip"
    return _attached(
        exports.download_export(export=export, by=by),
        name=f"model-{version.pk}.{suffix}",
        content_type=ONNX_TYPE if is_onnx else FILE_TYPE,
    )


def _attached(
    pieces: Iterator[bytes], *, name: str, content_type: str
) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        pieces,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


urlpatterns = [
    path(
        "model-versions/<uuid:pk>/file/", ModelVersionFile.as_view(), name="model_file"
    ),
    path(
        "model-versions/<uuid:pk>/exports/",
        ModelExports.as_view(),
        name="model_exports",
    ),
    path(
        "model-versions/<uuid:pk>/exports/<slug:form>/",
        ModelExportFile.as_view(),
        name="model_export_file",
    ),
]
