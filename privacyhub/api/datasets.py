"""Datasets and uploads."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api import dataset_access
from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.datasets import intake, services
from privacyhub.datasets.models import Dataset


class DatasetBody(serializers.ModelSerializer[Dataset]):
    """A dataset as its viewers see it."""

    owner = serializers.CharField(source="owner.username")
    latest_version = serializers.SerializerMethodField()
    versions = serializers.IntegerField(source="versions_count")

    class Meta:
        model = Dataset
        fields = (
            "id",
            "name",
            "description",
            "purpose",
            "legal_basis",
            "owner",
            "latest_version",
            "versions",
            "created_at",
            "erased_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_latest_version(self, dataset: Dataset) -> str | None:
        latest = dataset.latest
        return str(latest.pk) if latest else None


class Description(serializers.Serializer[Any]):
    """What a person says of a dataset."""

    name = serializers.CharField(max_length=200, required=False)
    description = serializers.CharField(
        max_length=5_000, required=False, allow_blank=True
    )
    purpose = serializers.CharField(max_length=2_000, required=False, allow_blank=True)
    legal_basis = serializers.CharField(
        max_length=200, required=False, allow_blank=True
    )


class NewDataset(Description):
    """A CSV or Parquet file; the name is the file's where none is given."""

    file = serializers.FileField(allow_empty_file=True)


class RefreshFile(serializers.Serializer[Any]):
    """The next version's rows: a file with the columns of the version before."""

    file = serializers.FileField(allow_empty_file=True)


class DatasetQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    name = serializers.CharField(required=False, help_text="a part of the name")
    owner = serializers.CharField(required=False, help_text="a user name")
    erased = serializers.BooleanField(required=False, allow_null=True, default=None)


class DatasetList(ListAPIView):
    """Datasets that the user sees; a POST takes in a new one."""

    serializer_class = DatasetBody
    parser_classes = (MultiPartParser,)

    def get_queryset(self) -> QuerySet[Dataset]:
        if getattr(self, "swagger_fake_view", False):
            return Dataset.objects.none()
        query = DatasetQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        found = _datasets(self.request.user)
        if "name" in asked:
            found = found.filter(name__icontains=asked["name"])
        if "owner" in asked:
            found = found.filter(owner__username=asked["owner"])
        if asked["erased"] is not None:
            found = found.filter(erased_at__isnull=not asked["erased"])
        return found

    @extend_schema(
        operation_id="datasets_list",
        parameters=[DatasetQuery],
        responses={200: DatasetBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="datasets_create",
        request={"multipart/form-data": NewDataset},
        responses={202: Accepted, **problems(400, 401, 403, 409, 413, 429)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = NewDataset(data=request.data)
        body.is_valid(raise_exception=True)
        return accepted(intake.take_in(by=request.user, **body.validated_data))


class DatasetDetail(APIView):
    """One dataset."""

    @extend_schema(
        operation_id="datasets_retrieve",
        responses={200: DatasetBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return Response(DatasetBody(find(_datasets(request.user), pk)).data)

    @extend_schema(
        operation_id="datasets_update",
        request=Description,
        responses={200: DatasetBody, **problems(400, 401, 403, 404)},
    )
    def patch(self, request: Request, pk: Any) -> Response:
        dataset = dataset_access.managed(request.user, pk)
        body = Description(data=request.data)
        body.is_valid(raise_exception=True)
        services.describe(dataset=dataset, by=request.user, **body.validated_data)
        return Response(DatasetBody(find(_datasets(request.user), pk)).data)


class DatasetRefresh(APIView):
    """The next version of a dataset from a new file."""

    parser_classes = (MultiPartParser,)

    @extend_schema(
        operation_id="datasets_refresh",
        request={"multipart/form-data": RefreshFile},
        responses={202: Accepted, **problems(400, 401, 403, 404, 409, 413, 429)},
    )
    @idempotent
    def post(self, request: Request, pk: Any) -> Response:
        dataset = dataset_access.managed(request.user, pk)
        body = RefreshFile(data=request.data)
        body.is_valid(raise_exception=True)
        job = intake.take_in(
            file=body.validated_data["file"], by=request.user, dataset=dataset
        )
        return accepted(job)


def _datasets(user: Any) -> QuerySet[Dataset]:
    seen = Dataset.objects.visible_to(user).select_related("owner")
    counted = seen.annotate(versions_count=Count("versions", distinct=True))
    return counted.order_by("-created_at")


urlpatterns = [
    path("datasets/", DatasetList.as_view(), name="datasets"),
    path("datasets/<uuid:pk>/", DatasetDetail.as_view(), name="dataset"),
    path(
        "datasets/<uuid:pk>/refresh/", DatasetRefresh.as_view(), name="dataset_refresh"
    ),
    *dataset_access.urlpatterns,
]
