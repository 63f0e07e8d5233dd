"""Versions: columns, profile, preview, download, budget, sharing."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import find, problems
from privacyhub.api.dataset_access import GrantBody, Share, give
from privacyhub.api.idempotency import idempotent_atomic
from privacyhub.api.version_bodies import (
    COLUMN_CHANGES,
    Budget,
    BudgetBody,
    ColumnBody,
    DownloadQuery,
    PreviewBody,
    PreviewQuery,
    ProfileBody,
    RiskBody,
    RiskQuery,
    VersionBody,
    VersionQuery,
    column_changes,
)
from privacyhub.datasets import reads, services
from privacyhub.datasets.models import Version
from privacyhub.governance import ledger
from privacyhub.governance.models import Ledger


class VersionList(ListAPIView):
    """Versions that the user sees."""

    serializer_class = VersionBody

    def get_queryset(self) -> QuerySet[Version]:
        if getattr(self, "swagger_fake_view", False):
            return Version.objects.none()
        query = VersionQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        found = _seen(self.request.user)
        return found.filter(**query.validated_data).order_by("-created_at")

    def get_serializer_context(self) -> dict[str, Any]:
        return super().get_serializer_context() | _context(self.request.user)

    @extend_schema(
        operation_id="versions_list",
        parameters=[VersionQuery],
        responses={200: VersionBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class VersionDetail(APIView):
    """One version."""

    @extend_schema(
        operation_id="versions_retrieve",
        responses={200: VersionBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        version = find(_seen(request.user), pk)
        return Response(VersionBody(version, context=_context(request.user)).data)


class VersionColumns(APIView):
    """The columns with their roles, in the table's order."""

    @extend_schema(
        operation_id="versions_columns_list",
        responses={200: ColumnBody(many=True), **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return _columns(request, find(_seen(request.user), pk))

    @extend_schema(
        operation_id="versions_columns_update",
        request=COLUMN_CHANGES,
        responses={200: ColumnBody(many=True), **problems(400, 401, 403, 404, 409)},
    )
    def patch(self, request: Request, pk: Any) -> Response:
        version = _managed(request.user, pk)
        changes = column_changes(request.data)
        services.set_columns(version=version, changes=changes, by=request.user)
        return _columns(request, find(_seen(request.user), pk))


class VersionProfile(APIView):
    """The profile: exact figures, for stewards and auditors only."""

    @extend_schema(
        operation_id="versions_profile",
        responses={200: ProfileBody, **problems(401, 403, 404, 409, 410)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        version = find(_seen(request.user), pk)
        told = reads.profile(version=version, by=request.user)
        return Response(_finite(told.to_dict()))


class VersionPreview(APIView):
    """Some rows as they are; on the record."""

    @extend_schema(
        operation_id="versions_preview",
        parameters=[PreviewQuery],
        responses={200: PreviewBody, **problems(400, 401, 403, 404, 409)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        version = find(_seen(request.user), pk)
        query = PreviewQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        frame = reads.preview(version=version, by=request.user, **asked)
        body = {
            "columns": frame.columns,
            "rows": [list(row) for row in frame.iter_rows()],
            "offset": asked["offset"],
        }
        return Response(_finite(body))

    def head(self, request: Request, pk: Any) -> Response:
        """Whether there is something to see; nothing is read."""
        find(_seen(request.user), pk)
        return Response()


class AnyFormat(BaseContentNegotiation):
    """`?format=` says what the file is, not how an answer is rendered."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: Any = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


class VersionDownload(APIView):
    """The version as a file; on the record."""

    content_negotiation_class = AnyFormat

    @extend_schema(
        operation_id="versions_download",
        parameters=[DownloadQuery],
        responses={
            (200, "text/csv"): OpenApiTypes.BINARY,
            (200, reads.CONTENT_TYPES["parquet"]): OpenApiTypes.BINARY,
            **problems(400, 401, 403, 404, 409),
        },
    )
    def get(self, request: Request, pk: Any) -> HttpResponseBase:
        version = find(_seen(request.user), pk)
        query = DownloadQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        form = query.validated_data["format"]
        file = reads.download(version=version, by=request.user, form=form)
        return StreamingHttpResponse(
            file.pieces,
            content_type=file.content_type,
            headers={"Content-Disposition": f'attachment; filename="{file.name}"'},
        )

    def head(self, request: Request, pk: Any) -> HttpResponse:
        """Whether there is something to fetch; nothing is read."""
        find(_seen(request.user), pk)
        return HttpResponse()


class VersionRisk(APIView):
    """How many rows stand alone on some columns; logged as a steward-only read."""

    @extend_schema(
        operation_id="versions_risk",
        parameters=[RiskQuery],
        responses={200: RiskBody, **problems(400, 401, 403, 404, 409)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        version = find(_seen(request.user), pk)
        query = RiskQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        names = [name for name in query.validated_data["columns"].split(",") if name]
        found = reads.risk_of(version=version, columns=names, by=request.user)
        return Response(RiskBody(found).data)

    def head(self, request: Request, pk: Any) -> Response:
        """Nothing is read."""
        find(_seen(request.user), pk)
        return Response()


class VersionBudget(APIView):
    """Unit of privacy, declared number of units and caps of the version's ledger."""

    @extend_schema(
        operation_id="versions_budget_retrieve",
        responses={200: BudgetBody, **problems(401, 403, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        version = find(_seen(request.user), pk)
        if not request.user.is_auditor:
            services.require_manager(dataset=version.dataset, by=request.user)
        return Response(budget_of(services.the_ledger(version)))

    @extend_schema(
        operation_id="versions_budget_declare",
        request=Budget,
        responses={200: BudgetBody, **problems(400, 401, 403, 404, 409)},
    )
    def put(self, request: Request, pk: Any) -> Response:
        version = _managed(request.user, pk)
        body = Budget(data=request.data)
        body.is_valid(raise_exception=True)
        services.declare_budget(version=version, by=request.user, **body.validated_data)
        return Response(budget_of(services.the_ledger(version)))


class VersionShare(APIView):
    """Share an anonymized version: an uncovered release, noted in the ledger."""

    @extend_schema(
        operation_id="versions_share",
        request=Share,
        responses={201: GrantBody, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        version = _managed(request.user, pk)
        return Response(GrantBody(give(request, version)).data, status=201)


def budget_of(account: Ledger) -> dict[str, Any]:
    """A ledger as BudgetBody; decimals as text."""
    left = asdict(ledger.balance(account))
    told = {name: str(left[name]) for name in ("spent", "reserved", "left")}
    return dict(BudgetBody(_Told(account, told)).data)


class _Told:
    """A ledger with its balance, for the serializer."""

    def __init__(self, account: Ledger, told: dict[str, str]) -> None:
        self._account, self._told = account, told

    def __getattr__(self, name: str) -> Any:
        if name == "ledger":
            return self._account.pk
        return self._told[name] if name in self._told else getattr(self._account, name)


def _seen(user: Any) -> QuerySet[Version]:
    found = Version.objects.visible_to(user).select_related("dataset", "created_by")
    return found.prefetch_related("ledgers", "parents", "columns")


def _managed(user: Any, pk: Any) -> Version:
    """404 where it is not seen, 403 where it is only seen."""
    version = find(_seen(user), pk)
    services.require_manager(dataset=version.dataset, by=user)
    return version


def _context(user: Any) -> dict[str, Any]:
    if user.is_auditor:
        return {"exact": "all"}
    return {"exact": set(Version.objects.managed_by(user).values_list("pk", flat=True))}


def _columns(request: Request, version: Version) -> Response:
    user = request.user
    managed = Version.objects.managed_by(user).filter(pk=version.pk).exists()
    context = {"exact": managed or user.is_auditor}
    return Response(ColumnBody(version.columns.all(), many=True, context=context).data)


def _finite(told: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    match told:
        case float():
            return told if math.isfinite(told) else None
        case dict():
            return {key: _finite(value) for key, value in told.items()}
        case list() | tuple():
            return [_finite(value) for value in told]
    return told


urlpatterns = [
    path("versions/", VersionList.as_view(), name="versions"),
    path("versions/<uuid:pk>/", VersionDetail.as_view(), name="version"),
    path(
        "versions/<uuid:pk>/columns/", VersionColumns.as_view(), name="version_columns"
    ),
    path(
        "versions/<uuid:pk>/profile/", VersionProfile.as_view(), name="version_profile"
    ),
    path(
        "versions/<uuid:pk>/preview/", VersionPreview.as_view(), name="version_preview"
    ),
    path(
        "versions/<uuid:pk>/download/",
        VersionDownload.as_view(),
        name="version_download",
    ),
    path("versions/<uuid:pk>/risk/", VersionRisk.as_view(), name="version_risk"),
    path("versions/<uuid:pk>/budget/", VersionBudget.as_view(), name="version_budget"),
    path("versions/<uuid:pk>/share/", VersionShare.as_view(), name="version_share"),
]
