"""Privacy reports: made, read, signed, shared, and as PDF."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.accounts.models import User
from privacyhub.api.answers import find, problems
from privacyhub.api.idempotency import idempotent, idempotent_atomic
from privacyhub.api.problems import problem
from privacyhub.assessment import report_pdf, reports
from privacyhub.assessment.models import Report
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.training.models import ModelVersion


class ReportBody(serializers.ModelSerializer[Report]):
    """A report in a list: what it is of, its hash, its signature."""

    created_by = serializers.CharField(source="created_by.username")
    signed_by = serializers.SerializerMethodField()

    class Meta:
        model = Report
        fields = (
            "id",
            "title",
            "model_version",
            "version",
            "sha256",
            "created_by",
            "created_at",
            "signed_by",
            "signed_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_signed_by(self, report: Report) -> str | None:
        return report.signed_by.username if report.signed_by else None


class ReportDetailBody(ReportBody):
    """A report with its content: `figures`, and `sections` of fields with sources.

    `intact` says whether the content still has its hash.
    """

    content = serializers.JSONField()
    intact = serializers.SerializerMethodField()

    class Meta(ReportBody.Meta):
        fields = (  # type: ignore[assignment]
            *ReportBody.Meta.fields,
            "intact",
            "content",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.BooleanField())
    def get_intact(self, report: Report) -> bool:
        return reports.is_intact(report)


class NewReport(serializers.Serializer[Any]):
    """Of one model version, or of one version."""

    model_version = serializers.UUIDField(required=False)
    version = serializers.UUIDField(required=False)


class NewShare(serializers.Serializer[Any]):
    """Who may read the report, and until when."""

    user = serializers.CharField(max_length=150, help_text="a user name")
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class Shared(serializers.Serializer[Any]):
    """The grant that was given."""

    grant = serializers.UUIDField()


class ReportQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    model_version = serializers.UUIDField(required=False)
    version = serializers.UUIDField(required=False)
    signed = serializers.BooleanField(required=False, allow_null=True, default=None)


class ReportList(ListAPIView):
    """Reports that the user may read; a POST makes one."""

    serializer_class = ReportBody

    def get_queryset(self) -> QuerySet[Report]:
        if getattr(self, "swagger_fake_view", False):
            return Report.objects.none()
        query = ReportQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        asked = dict(query.validated_data)
        signed = asked.pop("signed")
        found = _reports(self.request.user).filter(**asked)
        return found if signed is None else found.filter(signed_at__isnull=not signed)

    @extend_schema(
        operation_id="reports_list",
        parameters=[ReportQuery],
        responses={200: ReportBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="reports_create",
        request=NewReport,
        responses={201: ReportDetailBody, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        asked = _valid(NewReport, request)
        of: dict[str, Any] = {}
        if "model_version" in asked:
            known = ModelVersion.objects.visible_to(request.user)
            of["model_version"] = find(known, asked["model_version"])
        if "version" in asked:
            readable = Version.objects.visible_to(request.user)
            of["version"] = find(readable, asked["version"])
        report = reports.create(by=request.user, **of)
        return Response(ReportDetailBody(report).data, status=201)


class ReportDetail(APIView):
    """One report."""

    @extend_schema(
        operation_id="reports_retrieve",
        responses={200: ReportDetailBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return Response(ReportDetailBody(_find(request, pk)).data)


class ReportPdf(APIView):
    """The report as PDF. 503 where the hub's machine lacks libraries for it."""

    @extend_schema(
        operation_id="reports_pdf",
        responses={
            (200, "application/pdf"): OpenApiTypes.BINARY,
            **problems(401, 404, 503),
        },
    )
    def get(self, request: Request, pk: Any) -> HttpResponse:
        report = _find(request, pk)
        try:
            document = report_pdf.render(report)
        except report_pdf.PdfMissing as error:
            return problem(status=503, title=str(error), code="pdf_missing")
        reports.note_download(report=report, by=request.user, form="pdf")
        name = f"attachment; filename=report-{report.pk}.pdf"
        return HttpResponse(
            document,
            content_type="application/pdf",
            headers={"Content-Disposition": name},
        )


class ReportSign(APIView):
    """Signs a report, as an auditor."""

    @extend_schema(
        operation_id="reports_sign",
        request=None,
        responses={200: ReportDetailBody, **problems(401, 403, 404, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        signed = reports.sign(report=_find(request, pk), by=request.user)
        return Response(ReportDetailBody(signed).data)


class ReportShare(APIView):
    """Lets a user read the report; it gives nothing on its model or data."""

    @extend_schema(
        operation_id="reports_share",
        request=NewShare,
        responses={201: Shared, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        report = _find(request, pk)
        asked = _valid(NewShare, request)
        reports.require_manager(report=report, by=request.user)
        user = User.objects.filter(username=asked["user"], is_active=True).first()
        if user is None:
            raise DataError("There is no such user.", code="no_user")
        grant = reports.share(
            report=report,
            user=user,
            by=request.user,
            expires_at=asked.get("expires_at"),
        )
        return Response({"grant": str(grant.pk)}, status=201)


def _reports(user: Any) -> QuerySet[Report]:
    return Report.objects.visible_to(user).select_related("created_by", "signed_by")


def _find(request: Request, pk: Any) -> Report:
    found: Report = find(_reports(request.user), pk)
    return found


def _valid(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


urlpatterns = [
    path("reports/", ReportList.as_view(), name="reports"),
    path("reports/<uuid:pk>/", ReportDetail.as_view(), name="report"),
    path("reports/<uuid:pk>/pdf/", ReportPdf.as_view(), name="report_pdf"),
    path("reports/<uuid:pk>/sign/", ReportSign.as_view(), name="report_sign"),
    path("reports/<uuid:pk>/share/", ReportShare.as_view(), name="report_share"),
]
