"""Anonymization runs: submit, look at, apply another node, ask for the joint risk."""

from __future__ import annotations

import math
from types import NoneType
from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.states import State
from privacyhub.anonymization import narration, reading, services, solution_space
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.api import (
    anonymization_vocabulary,
    hierarchies,
    policy_templates,
    risk_reports,
)
from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.datasets.models import Version


class RunBody(serializers.ModelSerializer[AnonymizationRun]):
    """A run in a list."""

    state = serializers.CharField(source="job.state")
    message = serializers.CharField(source="job.message")
    owner = serializers.CharField(source="owner.username")
    held = serializers.SerializerMethodField()

    class Meta:
        model = AnonymizationRun
        fields = (
            "id",
            "version",
            "release",
            "job",
            "state",
            "message",
            "owner",
            "held",
            "created_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.BooleanField())
    def get_held(self, run: AnonymizationRun) -> bool:
        return bool(run.result.get("held"))


class RunDetailBody(RunBody):
    """A run with its policy and, once it is done, its figures and why."""

    policy = serializers.JSONField()
    result = serializers.SerializerMethodField()
    explanation = serializers.SerializerMethodField()
    joint_risk = serializers.SerializerMethodField()

    class Meta(RunBody.Meta):
        fields = (  # type: ignore[assignment]
            *RunBody.Meta.fields,
            "policy",
            "result",
            "explanation",
            "joint_risk",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.JSONField())
    def get_result(self, run: AnonymizationRun) -> dict[str, Any]:
        """The figures; `nodes` are the nodes that the search checked."""
        if not run.result:
            return {}
        told = {key: told for key, told in run.result.items() if key != "space"}
        return told | {"nodes": solution_space.nodes(run.result)}

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_explanation(self, run: AnonymizationRun) -> list[str]:
        return narration.explain(run.result) if run.result else []

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_joint_risk(self, run: AnonymizationRun) -> list[str]:
        return narration.joint(run.result) if run.result else []


class Planned(serializers.Serializer[Any]):
    """A policy for a version; its form is in the docstring of the schema."""

    version = serializers.UUIDField()
    policy = serializers.DictField(
        help_text="quasi_identifiers: {column: {hierarchy: 'automatic' or an id}}, "
        "models: [{name, ...}], suppression_limit: 0 to 1, metric: {name, ...}, "
        "method, time_limit: seconds, treatments: {column: {name, ...}}, "
        "utility_target: a column. What "
        "may be named is listed at anonymizations/vocabulary/."
    )


class NewRun(Planned):
    """`confirm_joint`: release it even beside earlier releases of the family."""

    confirm_joint = serializers.BooleanField(default=False)
    recipient = serializers.CharField(
        max_length=services.MOST_RECIPIENT,
        required=False,
        allow_blank=True,
        default="",
        help_text="who will get the release; for the ledger",
    )


class AppliedNode(serializers.Serializer[Any]):
    """A node of the solution space: a level for each quasi-identifier.

    Without `levels`: the node that the run found.
    """

    levels = serializers.DictField(
        child=serializers.IntegerField(min_value=0), required=False
    )
    confirm_joint = serializers.BooleanField(default=False)
    recipient = serializers.CharField(
        max_length=services.MOST_RECIPIENT, required=False, allow_blank=True, default=""
    )


class AcceptedRun(Accepted):
    """The job, and the run whose figures it will fill."""

    run = serializers.UUIDField()


class RunQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    version = serializers.UUIDField(required=False)
    dataset = serializers.UUIDField(required=False)
    state = serializers.ChoiceField(choices=State.choices, required=False)


class RunList(ListAPIView):
    """Runs on data that the user manages; a POST queues one."""

    serializer_class = RunBody

    def get_queryset(self) -> QuerySet[AnonymizationRun]:
        if getattr(self, "swagger_fake_view", False):
            return AnonymizationRun.objects.none()
        query = RunQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        names = {"dataset": "version__dataset", "state": "job__state"}
        asked = {names.get(k, k): v for k, v in query.validated_data.items()}
        return _runs(self.request.user).filter(**asked)

    @extend_schema(
        operation_id="anonymizations_list",
        parameters=[RunQuery],
        responses={200: RunBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="anonymizations_create",
        request=NewRun,
        responses={202: AcceptedRun, **problems(400, 401, 403, 404, 409, 429)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = _valid(NewRun, request)
        run = services.submit(
            version=_version(request.user, asked["version"]),
            policy=asked["policy"],
            confirm_joint=asked["confirm_joint"],
            recipient=asked["recipient"],
            by=request.user,
        )
        return accepted(run.job, run=str(run.pk))


class RunDetail(APIView):
    """One run."""

    @extend_schema(
        operation_id="anonymizations_retrieve",
        responses={200: RunDetailBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return Response(RunDetailBody(find(_runs(request.user), pk)).data)


class RunApply(APIView):
    """Releases a node of a run's solution space as another version."""

    @extend_schema(
        operation_id="anonymizations_apply",
        request=AppliedNode,
        responses={202: AcceptedRun, **problems(400, 401, 403, 404, 409, 429)},
    )
    @idempotent
    def post(self, request: Request, pk: Any) -> Response:
        run = find(_runs(request.user), pk)
        fresh = services.apply(run=run, by=request.user, **_valid(AppliedNode, request))
        return accepted(fresh.job, run=str(fresh.pk))


class RowsQuery(serializers.Serializer[Any]):
    """Where the rows start; an offset past the end gives the last ones."""

    offset = serializers.IntegerField(min_value=0, default=0)


class ComparedRow(serializers.Serializer[Any]):
    """A row of the release, counted from 1, and the row that it was made of."""

    row = serializers.IntegerField()
    before = serializers.ListField(child=serializers.JSONField())
    after = serializers.ListField(child=serializers.JSONField())


class ComparedRows(serializers.Serializer[Any]):
    """The same rows before and after; the cells are in the order of `columns`."""

    columns = serializers.ListField(child=serializers.CharField())
    offset = serializers.IntegerField()
    total = serializers.IntegerField()
    rows = ComparedRow(many=True)


class RunRows(APIView):
    """Rows before and after, for stewards; each look is on the record."""

    @extend_schema(
        operation_id="anonymizations_rows",
        parameters=[RowsQuery],
        responses={200: ComparedRows, **problems(400, 401, 403, 404, 409)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        run = find(_runs(request.user), pk)
        query = RowsQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        found = reading.compare_rows(run=run, by=request.user, **query.validated_data)
        rows = [
            {
                "row": number,
                "before": [_cell(cell) for cell in before],
                "after": [_cell(cell) for cell in after],
            }
            for number, (before, after) in enumerate(
                zip(found.before, found.after, strict=True), start=found.offset + 1
            )
        ]
        return Response(
            {
                "columns": found.columns,
                "offset": found.offset,
                "total": found.total,
                "rows": rows,
            }
        )


def _cell(value: Any) -> Any:
    """A cell as JSON has it; what it does not have becomes text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, NoneType | bool | int | float) else str(value)


class JointRisk(APIView):
    """Searches as a run does, tells the joint risk, and releases nothing."""

    @extend_schema(
        operation_id="anonymizations_joint_risk",
        request=Planned,
        responses={202: AcceptedRun, **problems(400, 401, 403, 404, 409, 429)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = _valid(Planned, request)
        run = services.submit(
            version=_version(request.user, asked["version"]),
            policy=asked["policy"],
            only_plan=True,
            by=request.user,
        )
        return accepted(run.job, run=str(run.pk))


def _valid(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _version(user: Any, pk: Any) -> Version:
    found: Version = find(Version.objects.visible_to(user), pk)
    return found


def _runs(user: Any) -> QuerySet[AnonymizationRun]:
    seen = AnonymizationRun.objects.visible_to(user)
    return seen.select_related("job", "owner", "version__dataset")


urlpatterns = [
    path("anonymizations/", RunList.as_view(), name="anonymizations"),
    path(
        "anonymizations/joint-risk/",
        JointRisk.as_view(),
        name="anonymization_joint_risk",
    ),
    path("anonymizations/<uuid:pk>/", RunDetail.as_view(), name="anonymization"),
    path(
        "anonymizations/<uuid:pk>/rows/", RunRows.as_view(), name="anonymization_rows"
    ),
    path(
        "anonymizations/<uuid:pk>/apply/",
        RunApply.as_view(),
        name="anonymization_apply",
    ),
    *anonymization_vocabulary.urlpatterns,
    *hierarchies.urlpatterns,
    *risk_reports.urlpatterns,
    *policy_templates.urlpatterns,
]
