"""Value hierarchies: build, upload, edit, download in ARX's CSV format, delete."""

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

from privacyhub.anonymization import hierarchies, services
from privacyhub.anonymization import hierarchy_edits as edits
from privacyhub.anonymization.hierarchy_builders import BUILDERS
from privacyhub.anonymization.models import Hierarchy
from privacyhub.api.answers import find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.datasets.models import Version

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


class BuiltQuery(serializers.Serializer[Any]):
    """A builder with its parameters, for a column of a version."""

    version = serializers.UUIDField()
    column = serializers.CharField()
    builder = serializers.ChoiceField(choices=list(BUILDERS))
    parameters = serializers.DictField(
        required=False,
        help_text="as anonymizations/vocabulary/ lists them; lists or text",
    )


class NewBuilt(BuiltQuery):
    """The same, to be kept under a name."""

    name = serializers.CharField(max_length=200)


class PreviewQuery(BuiltQuery):
    """A builder with its parameters, or a hierarchy that is kept, for a column."""

    builder = serializers.ChoiceField(choices=list(BUILDERS), required=False)
    hierarchy = serializers.UUIDField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("builder" in attrs) == ("hierarchy" in attrs):
            raise serializers.ValidationError("Name a builder or a hierarchy.")
        return attrs


class MissingBody(serializers.Serializer[Any]):
    """A value of the column that has no place; rows count from 1."""

    value = serializers.CharField(allow_blank=True)
    rows = serializers.IntegerField()
    first_row = serializers.IntegerField()


class HierarchyPreviewBody(serializers.Serializer[Any]):
    """Some rows from exact to general, and what has no place; for its steward.

    `missing` lists the values without a place, the most frequent first.
    """

    rows = serializers.ListField(child=serializers.ListField())
    labels = serializers.ListField(child=serializers.IntegerField())
    values = serializers.IntegerField()
    missing_values = serializers.IntegerField()
    missing_rows = serializers.IntegerField()
    missing = MissingBody(many=True)


class Edit(serializers.Serializer[Any]):
    """One change. Which keys it takes:

    rename_label: level, old, new; set_cells: cells [{value, level, new}];
    remove_value: value; remove_level: level; insert_level: level, labels {below: new};
    place_missing: version, column.
    """

    change = serializers.ChoiceField(choices=edits.EDITS)
    level = serializers.IntegerField(required=False)
    old = serializers.CharField(required=False, allow_blank=True)
    new = serializers.CharField(required=False, allow_blank=True)
    value = serializers.CharField(required=False, allow_blank=True)
    labels = serializers.DictField(child=serializers.CharField(), required=False)
    cells = serializers.ListField(child=serializers.DictField(), required=False)
    version = serializers.UUIDField(required=False)
    column = serializers.CharField(required=False)


class HierarchyBuild(APIView):
    """Builds a hierarchy from a column's values and keeps it."""

    @extend_schema(
        operation_id="hierarchies_build",
        request=NewBuilt,
        responses={201: HierarchyBody, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = _valid(NewBuilt, request)
        found, _ = _built(asked, request)
        kept = hierarchies.keep(name=asked["name"], found=found, by=request.user)
        return Response(HierarchyBody(kept).data, status=201)


class HierarchyPreview(APIView):
    """What a builder, or a kept hierarchy, makes of a column; nothing is kept."""

    @extend_schema(
        operation_id="hierarchies_preview",
        request=PreviewQuery,
        responses={200: HierarchyPreviewBody, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        asked = _valid(PreviewQuery, request)
        if "hierarchy" in asked:
            preview = hierarchies.preview(
                version=_managed(request, asked["version"]),
                column=asked["column"],
                hierarchy=str(asked["hierarchy"]),
                by=request.user,
            )
        else:
            _, preview = _built(asked, request)
        return Response(HierarchyPreviewBody(preview).data)


class HierarchyEdits(APIView):
    """Changes a hierarchy: cells, labels, levels, values."""

    @extend_schema(
        operation_id="hierarchies_edit",
        request=Edit,
        responses={200: HierarchyBody, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, pk: Any) -> Response:
        hierarchy = find(_hierarchies(request.user), pk)
        told = _valid(Edit, request)
        version, column = told.pop("version", None), told.pop("column", "")
        if version is not None:
            told["values"] = hierarchies.column_values(
                version=_managed(request, version),
                column=column,
                by=request.user,
                action="place",
            )
        changed = edits.edit(hierarchy=hierarchy, by=request.user, **told)
        return Response(HierarchyBody(changed).data)


def _built(asked: dict[str, Any], request: Request) -> tuple[Any, hierarchies.Preview]:
    return hierarchies.build(
        version=_managed(request, asked["version"]),
        column=asked["column"],
        builder=asked["builder"],
        given=asked.get("parameters", {}),
        by=request.user,
    )


def _managed(request: Request, pk: Any) -> Version:
    found: Version = find(Version.objects.visible_to(request.user), pk)
    services.require_manager(version=found, by=request.user)
    return found


def _valid(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _hierarchies(user: Any) -> QuerySet[Hierarchy]:
    return Hierarchy.objects.visible_to(user).select_related("owner", "key")


urlpatterns = [
    path("hierarchies/", HierarchyList.as_view(), name="hierarchies"),
    path("hierarchies/build/", HierarchyBuild.as_view(), name="hierarchy_build"),
    path("hierarchies/preview/", HierarchyPreview.as_view(), name="hierarchy_preview"),
    path(
        "hierarchies/<uuid:pk>/edits/", HierarchyEdits.as_view(), name="hierarchy_edits"
    ),
    path("hierarchies/<uuid:pk>/", HierarchyDetail.as_view(), name="hierarchy"),
]
