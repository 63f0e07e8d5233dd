"""The re-identification risk of a version, its telling columns, and Safe Harbor."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.anonymization import risk_report, risk_report_runs
from privacyhub.anonymization.models import RiskReportRun
from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.engines.anonymize import AnonymizeError


class RiskQuery(serializers.Serializer[Any]):
    """What the attacker knows; the quasi-identifiers where no column is named."""

    column = serializers.ListField(child=serializers.CharField(), required=False)
    threshold = serializers.FloatField(
        default=0.2, help_text="a row is at risk above this chance, from 0 to 1"
    )
    population = serializers.IntegerField(
        default=risk_report.DEFAULT_POPULATION, min_value=1, help_text="people"
    )


class ColumnsQuery(serializers.Serializer[Any]):
    """Which columns to look at; all that are no identifiers where none is named."""

    column = serializers.ListField(child=serializers.CharField(), required=False)


class AttackerBody(serializers.Serializer[Any]):
    """Chances from 0 to 1, and rows whose chance is above the threshold."""

    highest = serializers.FloatField()
    average = serializers.FloatField()
    rows_at_risk = serializers.IntegerField()


class ReidentificationRiskBody(serializers.Serializer[Any]):
    """Risk from the sizes of the groups of rows that look the same."""

    rows = serializers.IntegerField()
    suppressed = serializers.IntegerField()
    classes = serializers.IntegerField()
    smallest_class = serializers.IntegerField()
    largest_class = serializers.IntegerField()
    average_class = serializers.FloatField()
    unique_rows = serializers.IntegerField()
    threshold = serializers.FloatField()
    prosecutor = AttackerBody()
    journalist = AttackerBody()
    marketer = serializers.FloatField()


class SizeBody(serializers.Serializer[Any]):
    """Rows and groups by the size of the group."""

    size = serializers.CharField()
    rows = serializers.IntegerField()
    classes = serializers.IntegerField()


class EstimateBody(serializers.Serializer[Any]):
    """Part of the population that is unique; null where there is no solution."""

    estimator = serializers.CharField()
    share = serializers.FloatField(allow_null=True)


class RiskReportBody(serializers.Serializer[Any]):
    """`before` and `sizes_before`: for a release, of the version it was made of."""

    columns = serializers.ListField(
        child=serializers.CharField(), source="asked.columns"
    )
    population = serializers.IntegerField(source="asked.population")
    risk = ReidentificationRiskBody()
    sizes = SizeBody(many=True)
    population_uniqueness = EstimateBody(many=True, source="estimates")
    before = ReidentificationRiskBody(allow_null=True)
    sizes_before = SizeBody(many=True, allow_null=True)


class SetBody(serializers.Serializer[Any]):
    """How far a set of columns tells rows apart, from 0 to 1."""

    columns = serializers.ListField(child=serializers.CharField())
    distinction = serializers.FloatField()
    separation = serializers.FloatField()


class MinimalUniqueBody(serializers.Serializer[Any]):
    """A smallest set of columns on which so many rows stand alone."""

    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.IntegerField()


class FinderBody(serializers.Serializer[Any]):
    """Which columns tell people apart, in sets of at most `largest`."""

    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.IntegerField()
    largest = serializers.IntegerField()
    special_rows = serializers.IntegerField()
    sets = SetBody(many=True)
    minimal_uniques = MinimalUniqueBody(many=True, source="uniques")
    column_share = serializers.DictField(child=serializers.FloatField())


class FindingBody(serializers.Serializer[Any]):
    """`rule`: the letter in 45 CFR 164.514(b)(2)(i)."""

    column = serializers.CharField()
    rule = serializers.CharField()
    what = serializers.CharField()
    rows = serializers.IntegerField()


class AcceptedReport(Accepted):
    """The job that counts a large table, and the run; ask again when it has ended."""

    run = serializers.UUIDField()


class RiskReportView(APIView):
    """The risk to attackers who know some columns; a steward-only read."""

    @extend_schema(
        operation_id="versions_risk_report",
        parameters=[RiskQuery],
        responses={
            200: RiskReportBody,
            202: AcceptedReport,
            **problems(400, 401, 403, 404, 409, 429),
        },
    )
    def get(self, request: Request, pk: Any) -> Response:
        asked = _query(RiskQuery, request)
        version = _version(request, pk)
        question = risk_report.asked_of(
            version,
            columns=asked.get("column", []),
            threshold=asked["threshold"],
            population=asked["population"],
        )
        return _answer(request, version, question, RiskReportBody)


class Finder(APIView):
    """Distinction, separation and minimal unique sets; a steward-only read."""

    @extend_schema(
        operation_id="versions_quasi_identifiers",
        parameters=[ColumnsQuery],
        responses={
            200: FinderBody,
            202: AcceptedReport,
            **problems(400, 401, 403, 404, 409, 429),
        },
    )
    def get(self, request: Request, pk: Any) -> Response:
        asked = _query(ColumnsQuery, request)
        version = _version(request, pk)
        question = risk_report.looked_at_of(version, columns=asked.get("column", []))
        return _answer(request, version, question, FinderBody)


class SafeHarbor(APIView):
    """What of HIPAA's eighteen identifiers a version seems to hold."""

    @extend_schema(
        operation_id="versions_safe_harbor",
        responses={
            200: FindingBody(many=True),
            202: AcceptedReport,
            **problems(401, 403, 404, 409, 429),
        },
    )
    def get(self, request: Request, pk: Any) -> Response:
        version, question = _version(request, pk), risk_report.SafeHarbor()
        return _answer(request, version, question, FindingBody, many=True)


def _answer(
    request: Request,
    version: Version,
    question: risk_report.Question[Any],
    body: type[serializers.Serializer[Any]],
    *,
    many: bool = False,
) -> Response:
    """200 with the answer; 202 for a large table until its job has made it."""
    try:
        found = risk_report_runs.ask(
            version=version, question=question, by=request.user
        )
    except AnonymizeError as error:
        raise DataError(str(error), code="columns") from error
    if isinstance(found, RiskReportRun):
        return accepted(found.job, run=str(found.pk))
    return Response(body(found, many=many).data)


def _query(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    query = kind(data=request.query_params)
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


def _version(request: Request, pk: Any) -> Version:
    found: Version = find(Version.objects.visible_to(request.user), pk)
    return found


urlpatterns = [
    path(
        "versions/<uuid:pk>/risk-report/",
        RiskReportView.as_view(),
        name="version_risk_report",
    ),
    path(
        "versions/<uuid:pk>/quasi-identifiers/",
        Finder.as_view(),
        name="version_quasi_identifiers",
    ),
    path(
        "versions/<uuid:pk>/safe-harbor/",
        SafeHarbor.as_view(),
        name="version_safe_harbor",
    ),
]
