"""Assessments: released metrics for all who see the model, exact ones for stewards."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.assessment import evaluation
from privacyhub.assessment.models import Assessment
from privacyhub.datasets import services as datasets
from privacyhub.training import services as training
from privacyhub.training.models import ModelVersion


class AssessmentBody(serializers.ModelSerializer[Assessment]):
    """Metrics on held-out units.

    `released` is covered by the guarantee of `epsilon` that held-out units paid.
    `exact` is not covered; it is null but for those who manage the data, and auditors.
    """

    released = serializers.DictField()
    exact = serializers.SerializerMethodField()

    class Meta:
        model = Assessment
        fields = ("id", "model_version", "epsilon", "released", "exact", "created_at")
        read_only_fields = fields

    @extend_schema_field(serializers.DictField(allow_null=True))
    def get_exact(self, assessment: Assessment) -> dict[str, Any] | None:
        shown = training.may_see_exact(
            model_id=assessment.model_version.model_id, user=self.context["user"]
        )
        return dict(assessment.exact) if shown else None


class NewAssessment(serializers.Serializer[Any]):
    """Another reading of the held-out units, which pay for it again."""

    model_version = serializers.UUIDField()
    epsilon = serializers.CharField(default="0.5", help_text="decimal")


class AssessmentQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    model_version = serializers.UUIDField(required=False)


class AssessmentList(ListAPIView):
    """Assessments of the models that the user sees; a POST queues another."""

    serializer_class = AssessmentBody

    def get_queryset(self) -> QuerySet[Assessment]:
        if getattr(self, "swagger_fake_view", False):
            return Assessment.objects.none()
        query = AssessmentQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        return _assessments(self.request.user).filter(**query.validated_data)

    def get_serializer_context(self) -> dict[str, Any]:
        return super().get_serializer_context() | {"user": self.request.user}

    @extend_schema(
        operation_id="assessments_list",
        parameters=[AssessmentQuery],
        responses={200: AssessmentBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="assessments_create",
        request=NewAssessment,
        responses={202: Accepted, **problems(400, 401, 403, 404, 409, 429)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = NewAssessment(data=request.data)
        body.is_valid(raise_exception=True)
        seen = ModelVersion.objects.visible_to(request.user)
        version = find(seen, body.validated_data["model_version"])
        datasets.require_manager(dataset=version.model.dataset, by=request.user)
        job = evaluation.submit(
            model_version=version,
            by=request.user,
            epsilon=body.validated_data["epsilon"],
        )
        return accepted(job)


class AssessmentDetail(APIView):
    """One assessment."""

    @extend_schema(
        operation_id="assessments_retrieve",
        responses={200: AssessmentBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        found = find(_assessments(request.user), pk)
        return Response(AssessmentBody(found, context={"user": request.user}).data)


def _assessments(user: Any) -> QuerySet[Assessment]:
    return Assessment.objects.visible_to(user).select_related("model_version")


urlpatterns = [
    path("assessments/", AssessmentList.as_view(), name="assessments"),
    path("assessments/<uuid:pk>/", AssessmentDetail.as_view(), name="assessment"),
]
