"""Value hierarchies in ARX's CSV format: upload, download, delete."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.anonymization import hierarchies
from privacyhub.anonymization.models import Hierarchy
from privacyhub.api.answers import find, problems
from privacyhub.api.idempotency import idempotent

CSV = "text/csv"


class HierarchyBody(serializers.ModelSerializer[Hierarchy]):
    """A hierarchy without its values; `levels` is its height."""

    owner = serializers.CharField(source="owner.username")

    class Meta:
        model = Hierarchy
        fields = ("id", "name", "owner", "levels", "values_count", "created_at")
        read_only_fields = fields


class NewHierarchy(serializers.Serializer[Any]):
    """A file in ARX's format: a row for each value, `;` between levels, no header."""

    name = serializers.CharField(max_length=200)
    file = serializers.FileField()


class HierarchyList(ListAPIView):
    """The user's hierarchies; a POST uploads one."""

    serializer_class = HierarchyBody
    parser_classes = (MultiPartParser,)

    def get_queryset(self) -> QuerySet[Hierarchy]:
        if getattr(self, "swagger_fake_view", False):
            return Hierarchy.objects.none()
        return _hierarchies(self.request.user)

    @extend_schema(
        operation_id="hierarchies_list",
        responses={200: HierarchyBody(many=True), **problems(401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="hierarchies_create",
        request={"multipart/form-data": NewHierarchy},
        responses={201: HierarchyBody, **problems(400, 401, 403, 409, 413)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = NewHierarchy(data=request.data)
        body.is_valid(raise_exception=True)
        hierarchy = hierarchies.take_in(by=request.user, **body.validated_data)
        return Response(HierarchyBody(hierarchy).data, status=201)


class HierarchyDetail(APIView):
    """One hierarchy: its CSV, or its end."""

    @extend_schema(
        operation_id="hierarchies_retrieve",
        responses={(200, CSV): str, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> HttpResponse:
        hierarchy = find(_hierarchies(request.user), pk)
        text = hierarchies.download(hierarchy=hierarchy, by=request.user)
        name = f"hierarchy-{hierarchy.pk}.csv"
        return HttpResponse(
            text,
            content_type=f"{CSV}; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @extend_schema(
        operation_id="hierarchies_destroy",
        responses={204: None, **problems(401, 403, 404, 409)},
    )
    def delete(self, request: Request, pk: Any) -> Response:
        hierarchy = find(_hierarchies(request.user), pk)
        hierarchies.delete(hierarchy=hierarchy, by=request.user)
        return Response(status=204)


def _hierarchies(user: Any) -> QuerySet[Hierarchy]:
    return Hierarchy.objects.visible_to(user).select_related("owner")


urlpatterns = [
    path("hierarchies/", HierarchyList.as_view(), name="hierarchies"),
    path("hierarchies/<uuid:pk>/", HierarchyDetail.as_view(), name="hierarchy"),
]
