"""Models, their versions, and the model files."""

from __future__ import annotations

import base64
from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import find, problems
from privacyhub.api.dataset_access import user_called
from privacyhub.api.idempotency import idempotent_atomic
from privacyhub.datasets import services as datasets
from privacyhub.governance import grants
from privacyhub.governance.models import Grant, Right
from privacyhub.training import artefacts, services
from privacyhub.training.models import Model, ModelVersion

FILE_TYPE = "application/zip"
ONNX_TYPE = "application/octet-stream"


class ModelBody(serializers.ModelSerializer[Model]):
    """A model: what it predicts, and its latest version."""

    latest_version = serializers.SerializerMethodField()

    class Meta:
        model = Model
        fields = (
            "id",
            "name",
            "dataset",
            "target",
            "task",
            "latest_version",
            "created_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_latest_version(self, model: Model) -> str | None:
        latest = model.latest
        return str(latest.pk) if latest else None


class ModelVersionBody(serializers.ModelSerializer[ModelVersion]):
    """A version of a model with its guarantee. No exact figure of private rows."""

    name = serializers.CharField(source="__str__")
    guarantee = serializers.DictField()
    summary = serializers.DictField()
    privacy = serializers.CharField(source="run.privacy")
    public_key = serializers.SerializerMethodField(
        help_text="base64, Ed25519: what the model file's manifest is signed with"
    )
    loss_curve = serializers.SerializerMethodField(
        help_text="exact mean loss over the run; without privacy only, and empty but "
        "for those who manage the data, and auditors; null where it grew beyond all "
        "numbers"
    )

    class Meta:
        model = ModelVersion
        fields = (
            "id",
            "name",
            "model",
            "number",
            "privacy",
            "guarantee",
            "summary",
            "loss_curve",
            "size",
            "artefact_sha256",
            "public_key",
            "created_at",
            "erased_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.CharField())
    def get_public_key(self, version: ModelVersion) -> str:
        return base64.b64encode(artefacts.public_key()).decode()

    @extend_schema_field(
        serializers.ListField(child=serializers.FloatField(allow_null=True))
    )
    def get_loss_curve(self, version: ModelVersion) -> list[float | None]:
        shown = version.loss_curve and services.may_see_exact(
            model_id=version.model_id, user=self.context["request"].user
        )
        return list(version.loss_curve) if shown else []


class ModelShare(serializers.Serializer[Any]):
    """Whom to give a right on the model. It gives nothing on its data."""

    user = serializers.CharField(help_text="a user name")
    right = serializers.ChoiceField(choices=[Right.VIEW, Right.USE], default=Right.USE)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class ModelGrantBody(serializers.ModelSerializer[Grant]):
    """A right on a model, by whom it was given and until when."""

    user = serializers.CharField(source="user.username")
    right = serializers.ChoiceField(choices=Right.choices)
    given_by = serializers.CharField(source="given_by.username")

    class Meta:
        model = Grant
        fields = ("id", "user", "right", "model", "given_by", "given_at", "expires_at")
        read_only_fields = fields


class ModelQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    dataset = serializers.UUIDField(required=False)
    target = serializers.CharField(required=False)
    task = serializers.CharField(required=False)


class ModelVersionQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    model = serializers.UUIDField(required=False)


class ModelList(ListAPIView):
    """Models that the user sees."""

    serializer_class = ModelBody

    def get_queryset(self) -> QuerySet[Model]:
        if getattr(self, "swagger_fake_view", False):
            return Model.objects.none()
        query = ModelQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        seen = Model.objects.visible_to(self.request.user)
        return seen.filter(**query.validated_data)

    @extend_schema(
        operation_id="models_list",
        parameters=[ModelQuery],
        responses={200: ModelBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class ModelDetail(APIView):
    """One model."""

    @extend_schema(
        operation_id="models_retrieve",
        responses={200: ModelBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return Response(
            ModelBody(find(Model.objects.visible_to(request.user), pk)).data
        )


class ModelSharing(APIView):
    """Who has a right on the model; a POST gives one."""

    @extend_schema(
        operation_id="models_grants_list",
        responses={200: ModelGrantBody(many=True), **problems(401, 403, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        model = find(Model.objects.visible_to(request.user), pk)
        if not request.user.is_auditor:
            datasets.require_manager(dataset=model.dataset, by=request.user)
        return Response(ModelGrantBody(services.grants_of(model), many=True).data)

    @extend_schema(
        operation_id="models_share",
        request=ModelShare,
        responses={201: ModelGrantBody, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        model = find(Model.objects.visible_to(request.user), pk)
        datasets.require_manager(dataset=model.dataset, by=request.user)
        body = ModelShare(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        grant = services.share(
            model=model,
            user=user_called(asked["user"]),
            right=asked["right"],
            expires_at=asked.get("expires_at"),
            by=request.user,
        )
        return Response(ModelGrantBody(grant).data, status=201)


class ModelGrant(APIView):
    """One grant on the model."""

    @extend_schema(
        operation_id="models_grants_revoke",
        request=None,
        responses={204: None, **problems(401, 403, 404)},
    )
    def delete(self, request: Request, pk: Any, grant: Any) -> Response:
        model = find(Model.objects.visible_to(request.user), pk)
        datasets.require_manager(dataset=model.dataset, by=request.user)
        grants.revoke(grant=find(services.grants_of(model), grant), by=request.user)
        return Response(status=204)


class ModelVersionList(ListAPIView):
    """Versions of the models that the user sees."""

    serializer_class = ModelVersionBody

    def get_queryset(self) -> QuerySet[ModelVersion]:
        if getattr(self, "swagger_fake_view", False):
            return ModelVersion.objects.none()
        query = ModelVersionQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        return versions_of(self.request.user).filter(**query.validated_data)

    @extend_schema(
        operation_id="model_versions_list",
        parameters=[ModelVersionQuery],
        responses={200: ModelVersionBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class ModelVersionDetail(APIView):
    """One version of a model."""

    @extend_schema(
        operation_id="model_versions_retrieve",
        responses={200: ModelVersionBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        found = find(versions_of(request.user), pk)
        return Response(ModelVersionBody(found, context={"request": request}).data)


def versions_of(user: Any) -> QuerySet[ModelVersion]:
    """Those that the user sees, with what a body needs."""
    return ModelVersion.objects.visible_to(user).select_related("model", "run", "key")


urlpatterns = [
    path("models/", ModelList.as_view(), name="models"),
    path("models/<uuid:pk>/", ModelDetail.as_view(), name="model"),
    path("models/<uuid:pk>/share/", ModelSharing.as_view(), name="model_share"),
    path(
        "models/<uuid:pk>/share/<uuid:grant>/", ModelGrant.as_view(), name="model_grant"
    ),
    path("model-versions/", ModelVersionList.as_view(), name="model_versions"),
    path(
        "model-versions/<uuid:pk>/", ModelVersionDetail.as_view(), name="model_version"
    ),
]
