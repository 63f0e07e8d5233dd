"""Lines that a restore has lost, and the two people who acknowledge them."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.accounts.roles import NotAllowed
from privacyhub.api.answers import problems
from privacyhub.api.idempotency import idempotent_atomic
from privacyhub.governance import gaps
from privacyhub.governance.models import LedgerGap


class GapSerializer(serializers.Serializer[Any]):
    """`open` tells whether ledgers are held; `acknowledged_by` is the first person.

    `heads_gone`: exported heads are missing from their folder, so that the numbers of
    lost lines may be too low. Copy the folder of heads back, or acknowledge.
    """

    open = serializers.BooleanField()
    lines = serializers.IntegerField()
    audit_lines = serializers.IntegerField()
    heads_gone = serializers.BooleanField()
    acknowledged_by = serializers.CharField(allow_null=True)


class AcknowledgeSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000)


class AcknowledgedSerializer(serializers.ModelSerializer[LedgerGap]):
    first_by = serializers.CharField(source="first_by.username")
    second_by = serializers.CharField(source="second_by.username", default=None)

    class Meta:
        model = LedgerGap
        fields = (
            *("id", "lines", "audit_lines", "reason"),
            *("first_by", "first_at", "second_by", "second_at"),
        )
        read_only_fields = fields


class GapState(APIView):
    """Whether the database reaches every head that was exported of it."""

    @extend_schema(responses={200: GapSerializer, **problems(403)})
    def get(self, request: Request) -> Response:
        if not gaps.may_acknowledge(request.user):
            raise NotAllowed
        gap, first = gaps.find(), gaps.open_gap()
        told = {
            "open": gap is not None,
            "lines": gap.lines if gap else 0,
            "audit_lines": gap.audit_lines if gap else 0,
            "heads_gone": gap is not None and gap.heads_are_gone,
            "acknowledged_by": first.first_by.username if gap and first else None,
        }
        return Response(told)


class Acknowledge(APIView):
    """Say that one knows of the gap; the second person's word closes it."""

    @extend_schema(
        request=AcknowledgeSerializer,
        responses={200: AcknowledgedSerializer, **problems(400, 403, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request) -> Response:
        form = AcknowledgeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row = gaps.acknowledge(by=request.user, **form.validated_data)
        return Response(AcknowledgedSerializer(row).data)


urlpatterns: list[URLPattern] = [
    path("ledger-gap/", GapState.as_view(), name="ledger_gap"),
    path(
        "ledger-gap/acknowledge/", Acknowledge.as_view(), name="ledger_gap_acknowledge"
    ),
]
