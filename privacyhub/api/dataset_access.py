"""Who reaches a dataset, and its end: share, grants, hand over, erase."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.accounts.models import User
from privacyhub.api.answers import find, problems
from privacyhub.api.idempotency import idempotent, idempotent_atomic
from privacyhub.datasets import erasure, services
from privacyhub.datasets.models import Dataset
from privacyhub.governance import grants
from privacyhub.governance.models import Grant, Right


class GrantBody(serializers.ModelSerializer[Grant]):
    """A right that was given, by whom and until when."""

    user = serializers.CharField(source="user.username")
    right = serializers.ChoiceField(choices=Right.choices)
    given_by = serializers.CharField(source="given_by.username")

    class Meta:
        model = Grant
        fields = (
            "id",
            "user",
            "right",
            "dataset",
            "version",
            "given_by",
            "given_at",
            "expires_at",
        )
        read_only_fields = fields


class Share(serializers.Serializer[Any]):
    """Whom to give a right, and until when."""

    user = serializers.CharField(help_text="a user name")
    right = serializers.ChoiceField(
        choices=[Right.VIEW, Right.MANAGE], default=Right.VIEW
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class Receiver(serializers.Serializer[Any]):
    """The steward who becomes the owner."""

    user = serializers.CharField(help_text="a steward's user name")


class Confirmation(serializers.Serializer[Any]):
    """The dataset's name, typed; and whether its models go too."""

    confirm = serializers.CharField()
    with_models = serializers.BooleanField(default=False)


class TouchedThing(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField(source="__str__")


class TouchedBody(serializers.Serializer[Any]):
    """What an erasure reaches. The ledger, the audit trail and reports stay."""

    versions = TouchedThing(many=True)
    models = TouchedThing(many=True)
    reports = TouchedThing(many=True)


def managed(user: Any, pk: Any) -> Dataset:
    """The dataset that the user may change: 404 unseen, 403 where it is only seen."""
    dataset = find(Dataset.objects.visible_to(user), pk)
    services.require_manager(dataset=dataset, by=user)
    return dataset


def watched(user: Any, pk: Any) -> Dataset:
    """The dataset, for those who manage it and for auditors."""
    dataset = find(Dataset.objects.visible_to(user), pk)
    if not user.is_auditor:
        services.require_manager(dataset=dataset, by=user)
    return dataset


def user_called(name: str) -> User:
    """The active user, or a field error: names are not secret inside a hub."""
    found = User.objects.filter(username=name, is_active=True).first()
    if found is None:
        raise serializers.ValidationError({"user": ["There is no such user."]})
    return found


class DatasetShare(APIView):
    """Give a user a right on the dataset."""

    @extend_schema(
        operation_id="datasets_share",
        request=Share,
        responses={201: GrantBody, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        dataset = managed(request.user, pk)
        return Response(GrantBody(give(request, dataset)).data, status=201)


def give(request: Request, target: Any) -> Grant:
    body = Share(data=request.data)
    body.is_valid(raise_exception=True)
    asked = body.validated_data
    return services.share(
        target=target,
        user=user_called(asked["user"]),
        right=asked["right"],
        expires_at=asked.get("expires_at"),
        by=request.user,
    )


class DatasetGrants(APIView):
    """The live grants on the dataset and its versions."""

    @extend_schema(
        operation_id="datasets_grants_list",
        responses={200: GrantBody(many=True), **problems(401, 403, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        dataset = watched(request.user, pk)
        return Response(GrantBody(grants_of(dataset), many=True).data)


class DatasetGrant(APIView):
    """One grant on the dataset or a version of it."""

    @extend_schema(
        operation_id="datasets_grants_revoke",
        request=None,
        responses={204: None, **problems(401, 403, 404)},
    )
    def delete(self, request: Request, pk: Any, grant: Any) -> Response:
        dataset = managed(request.user, pk)
        grants.revoke(grant=find(grants_of(dataset), grant), by=request.user)
        return Response(status=204)


def grants_of(dataset: Dataset) -> Any:
    """Live grants on the dataset or on one of its versions."""
    reach = Q(dataset=dataset) | Q(version__dataset=dataset)
    live = Grant.objects.live().filter(reach, user__isnull=False)
    return live.select_related("user", "given_by", "version")


class DatasetHandOver(APIView):
    """Make another steward the owner."""

    @extend_schema(
        operation_id="datasets_hand_over",
        request=Receiver,
        responses={204: None, **problems(400, 401, 403, 404)},
    )
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        dataset = managed(request.user, pk)
        body = Receiver(data=request.data)
        body.is_valid(raise_exception=True)
        to = user_called(body.validated_data["user"])
        services.hand_over(dataset=dataset, to=to, by=request.user)
        return Response(status=204)


class DatasetErase(APIView):
    """Destroy the dataset's keys. There is no way back."""

    @extend_schema(
        operation_id="datasets_erase_preview",
        responses={200: TouchedBody, **problems(401, 403, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        dataset = watched(request.user, pk)
        return Response(TouchedBody(erasure.touched(dataset)).data)

    @extend_schema(
        operation_id="datasets_erase",
        request=Confirmation,
        responses={200: TouchedBody, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent
    def post(self, request: Request, pk: Any) -> Response:
        dataset = managed(request.user, pk)
        body = Confirmation(data=request.data)
        body.is_valid(raise_exception=True)
        reached = erasure.erase(dataset=dataset, by=request.user, **body.validated_data)
        return Response(TouchedBody(reached).data)


urlpatterns = [
    path("datasets/<uuid:pk>/share/", DatasetShare.as_view(), name="dataset_share"),
    path("datasets/<uuid:pk>/grants/", DatasetGrants.as_view(), name="dataset_grants"),
    path(
        "datasets/<uuid:pk>/grants/<uuid:grant>/",
        DatasetGrant.as_view(),
        name="dataset_grant",
    ),
    path(
        "datasets/<uuid:pk>/hand-over/",
        DatasetHandOver.as_view(),
        name="dataset_hand_over",
    ),
    path("datasets/<uuid:pk>/erase/", DatasetErase.as_view(), name="dataset_erase"),
]
