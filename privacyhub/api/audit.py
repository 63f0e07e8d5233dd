"""The audit trail, for auditors and administrators."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import URLPattern, path
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.governance import audit, heads
from privacyhub.governance.models import AuditEvent
from privacyhub.governance.verification import verify


class FilterSerializer(serializers.Serializer):
    actor = serializers.CharField(required=False, max_length=150)
    action = serializers.CharField(required=False, max_length=60)
    object_type = serializers.CharField(required=False, max_length=40)
    object_id = serializers.CharField(required=False, max_length=40)
    since = serializers.DateField(required=False)
    until = serializers.DateField(required=False)


class EventSerializer(serializers.ModelSerializer):
    detail = serializers.DictField()

    class Meta:
        model = AuditEvent
        fields = [
            "sequence",
            "at",
            "actor_id",
            "actor",
            "action",
            "object_type",
            "object_id",
            "detail",
            "previous_hash",
            "hash",
        ]
        read_only_fields = fields


class VerifiedSerializer(serializers.Serializer):
    """`first_bad_row` is the first line that does not fit; null where all do.

    `problems` are sentences, also of ledgers and of exported heads; none where all
    holds.
    """

    holds = serializers.BooleanField()
    lines = serializers.IntegerField()
    head = serializers.CharField()
    first_bad_row = serializers.IntegerField(allow_null=True)
    ledgers = serializers.IntegerField()
    heads_checked = serializers.IntegerField()
    problems = serializers.ListField(child=serializers.CharField())


class SignedHeadSerializer(serializers.Serializer):
    """Ed25519 over the statement's canonical JSON: sorted keys, no blanks; base64."""

    statement = serializers.DictField()
    signature = serializers.CharField()
    public_key = serializers.CharField()


class AuditList(generics.ListAPIView):
    """Newest first."""

    serializer_class = EventSerializer

    def get_queryset(self) -> QuerySet[AuditEvent]:
        if getattr(self, "swagger_fake_view", False):
            return AuditEvent.objects.none()
        audit.require_reader(self.request.user)
        form = FilterSerializer(data=self.request.query_params)
        form.is_valid(raise_exception=True)
        return audit.select(**form.validated_data)

    @extend_schema(parameters=[FilterSerializer])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class AuditVerify(APIView):
    """Recomputes every chain and checks the exported heads."""

    @extend_schema(responses=VerifiedSerializer)
    def get(self, request: Request) -> Response:
        audit.require_reader(request.user)
        return Response(VerifiedSerializer(verify()).data)


class AuditHeadNow(APIView):
    """The trail's end, signed. Keep it: a trail that was cut off does not reach it."""

    @extend_schema(responses=SignedHeadSerializer)
    def get(self, request: Request) -> Response:
        audit.require_reader(request.user)
        return Response(heads.audit_head())


urlpatterns: list[URLPattern] = [
    path("audit/", AuditList.as_view(), name="audit"),
    path("audit/head/", AuditHeadNow.as_view(), name="audit_head"),
    path("audit/verify/", AuditVerify.as_view(), name="audit_verify"),
]
