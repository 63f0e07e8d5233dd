"""A model's error by declared group; exact figures are for stewards alone."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.assessment import group_evaluation
from privacyhub.assessment.models import GroupAssessment
from privacyhub.datasets import services as datasets
from privacyhub.training import services as training
from privacyhub.training.models import ModelVersion


class GroupErrorBody(serializers.Serializer[Any]):
    """A group's figures, each {"value", "low", "high"}; null with too few rows."""

    group = serializers.CharField()
    rows = serializers.IntegerField()
    metrics = serializers.DictField()


class GroupAssessmentBody(serializers.ModelSerializer[GroupAssessment]):
    """`released` is empty where no epsilon was paid; `exact` is null for others."""

    released = GroupErrorBody(many=True)
    exact = serializers.SerializerMethodField()

    class Meta:
        model = GroupAssessment
        fields = (
            "id",
            "model_version",
            "column",
            "epsilon",
            "released",
            "exact",
            "created_at",
        )
        read_only_fields = fields

    @extend_schema_field(GroupErrorBody(many=True, allow_null=True))
    def get_exact(self, found: GroupAssessment) -> list[dict[str, Any]] | None:
        shown = training.may_see_exact(
            model_id=found.model_version.model_id, user=self.context["request"].user
        )
        return list(found.exact) if shown else None


class NewGroupAssessment(serializers.Serializer[Any]):
    """A reading of the held-out units by the declared categories of a column."""

    model_version = serializers.UUIDField()
    column = serializers.CharField()
    epsilon = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        help_text="decimal, paid by held-out units; without it nothing is released",
    )


class GroupAssessmentQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    model_version = serializers.UUIDField(required=False)


class GroupAssessmentList(ListAPIView):
    """Errors by group of the models that the user sees; a POST queues another."""

    serializer_class = GroupAssessmentBody

    def get_queryset(self) -> QuerySet[GroupAssessment]:
        if getattr(self, "swagger_fake_view", False):
            return GroupAssessment.objects.none()
        query = GroupAssessmentQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        seen = GroupAssessment.objects.visible_to(self.request.user)
        return seen.select_related("model_version").filter(**query.validated_data)

    @extend_schema(
        operation_id="group_assessments_list",
        parameters=[GroupAssessmentQuery],
        responses={200: GroupAssessmentBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="group_assessments_create",
        request=NewGroupAssessment,
        responses={202: Accepted, **problems(400, 401, 403, 404, 409, 429)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = NewGroupAssessment(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        seen = ModelVersion.objects.visible_to(request.user)
        version = find(seen, asked["model_version"])
        datasets.require_manager(dataset=version.model.dataset, by=request.user)
        job = group_evaluation.submit(
            model_version=version,
            by=request.user,
            column=asked["column"],
            epsilon=asked["epsilon"],
        )
        return accepted(job)


urlpatterns = [
    path("group-assessments/", GroupAssessmentList.as_view(), name="group_assessments"),
]
