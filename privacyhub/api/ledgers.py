"""Privacy ledgers: balance, lines, and requests for a higher cap."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import URLPattern, path
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import find
from privacyhub.api.idempotency import idempotent_atomic
from privacyhub.governance import ledger as books
from privacyhub.governance import statement
from privacyhub.governance.models import (
    CapRequest,
    EntryKind,
    Ledger,
    LedgerEntry,
    RecipientCap,
)


class BalanceSerializer(serializers.Serializer):
    """Epsilons of the cap, at the delta cap, as decimal strings."""

    cap = serializers.CharField()
    spent = serializers.CharField()
    reserved = serializers.CharField()
    left = serializers.CharField()


class LedgerSerializer(serializers.ModelSerializer):
    name = serializers.SerializerMethodField()
    declared = serializers.BooleanField(source="is_declared")
    balance = serializers.SerializerMethodField()

    class Meta:
        model = Ledger
        fields = [
            "id",
            "name",
            "unit",
            "unit_key",
            "most_rows_per_unit",
            "relation",
            "declared",
            "declared_units",
            "epsilon_cap",
            "delta_cap",
            "balance",
            "fixed_at",
            "uncovered_release_at",
            "created_at",
        ]
        read_only_fields = fields

    def get_name(self, row: Ledger) -> str:
        return statement.name(ledger=row, user=self.context["request"].user)

    @extend_schema_field(BalanceSerializer)
    def get_balance(self, row: Ledger) -> dict[str, str]:
        return dict(BalanceSerializer(books.balance(row)).data)


class EntrySerializer(serializers.ModelSerializer):
    event = serializers.DictField(allow_null=True)

    class Meta:
        model = LedgerEntry
        fields = [
            "id",
            "number",
            "hash",
            "at",
            "kind",
            "part",
            "unit",
            "relation",
            "actor",
            "recipient",
            "run_id",
            "purpose",
            "event",
            "epsilon",
            "at_delta",
            "used",
            "note",
        ]
        read_only_fields = fields


class CapRequestSerializer(serializers.ModelSerializer):
    requested_by = serializers.CharField(source="requested_by.username")
    decided_by = serializers.CharField(source="decided_by.username", default=None)

    class Meta:
        model = CapRequest
        fields = [
            "id",
            "ledger",
            "recipient",
            "epsilon_cap",
            "reason",
            "requested_by",
            "requested_at",
            "approved",
            "decided_by",
            "decided_at",
        ]
        read_only_fields = fields


class RaiseSerializer(serializers.Serializer):
    """`recipient` names whose cap is meant; left out, it is the ledger's own."""

    epsilon_cap = serializers.CharField(max_length=40)
    reason = serializers.CharField(max_length=2000)
    recipient = serializers.CharField(max_length=150, required=False)


class RecipientCapSerializer(serializers.Serializer):
    """A cap beneath the ledger's own, for what is spent for one recipient."""

    recipient = serializers.CharField()
    balance = BalanceSerializer()


class SetRecipientCapSerializer(serializers.Serializer):
    recipient = serializers.CharField(max_length=150)
    epsilon_cap = serializers.CharField(max_length=40)


class DecisionSerializer(serializers.Serializer):
    approve = serializers.BooleanField()


class LedgerList(generics.ListAPIView):
    serializer_class = LedgerSerializer

    def get_queryset(self) -> QuerySet[Ledger]:
        if getattr(self, "swagger_fake_view", False):
            return Ledger.objects.none()
        return Ledger.objects.visible_to(self.request.user)


class LedgerDetail(APIView):
    @extend_schema(responses=LedgerSerializer)
    def get(self, request: Request, pk: Any) -> Response:
        row = _find(request, pk)
        return Response(LedgerSerializer(row, context={"request": request}).data)


class Entries(generics.ListAPIView):
    """Newest first. Lines of another owner of the same rows are left out."""

    serializer_class = EntrySerializer

    def get_queryset(self) -> QuerySet[LedgerEntry]:
        if getattr(self, "swagger_fake_view", False):
            return LedgerEntry.objects.none()
        row = _find(self.request, self.kwargs["pk"])
        lines = statement.entries(ledger=row, user=self.request.user)
        kind = self.request.query_params.get("kind")
        if not kind:
            return lines
        if kind not in EntryKind.values:
            known = f"One of {', '.join(EntryKind.values)}."
            raise serializers.ValidationError({"kind": [known]})
        return lines.filter(kind=kind)

    @extend_schema(parameters=[OpenApiParameter("kind", str, enum=EntryKind.values)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class Raise(APIView):
    """Ask for a higher cap; a second person decides."""

    @extend_schema(request=RaiseSerializer, responses={201: CapRequestSerializer})
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        form = RaiseSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        wish = books.request_raise(
            ledger=_find(request, pk), by=request.user, **form.validated_data
        )
        return Response(CapRequestSerializer(wish).data, status=201)


class RecipientCaps(APIView):
    """What may be spent for one recipient; the ledger's own cap always holds."""

    @extend_schema(responses=RecipientCapSerializer(many=True))
    def get(self, request: Request, pk: Any) -> Response:
        row = _find(request, pk)
        caps = statement.recipient_caps(ledger=row, user=request.user)
        return Response([_recipient_cap(row, cap) for cap in caps])

    @extend_schema(
        request=SetRecipientCapSerializer, responses={201: RecipientCapSerializer}
    )
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        """Set a first or a lower cap; a higher one is asked for by `raise`."""
        form = SetRecipientCapSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row = _find(request, pk)
        cap = books.set_recipient_cap(
            ledger=row, by=request.user, **form.validated_data
        )
        row.refresh_from_db()
        return Response(_recipient_cap(row, cap), status=201)


def _recipient_cap(row: Ledger, cap: RecipientCap) -> dict[str, Any]:
    told = {"recipient": cap.recipient, "balance": books.balance(row, of=cap)}
    return dict(RecipientCapSerializer(told).data)


class Decide(APIView):
    @extend_schema(request=DecisionSerializer, responses=CapRequestSerializer)
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        form = DecisionSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        visible = Ledger.objects.visible_to(request.user)
        wish = find(CapRequest.objects.filter(ledger__in=visible), pk)
        books.decide_raise(request=wish, by=request.user, **form.validated_data)
        wish.refresh_from_db()
        return Response(CapRequestSerializer(wish).data)


def _find(request: Any, pk: Any) -> Ledger:
    return find(Ledger.objects.visible_to(request.user), pk)


urlpatterns: list[URLPattern] = [
    path("ledgers/", LedgerList.as_view(), name="ledgers"),
    path("ledgers/<uuid:pk>/", LedgerDetail.as_view(), name="ledger"),
    path("ledgers/<uuid:pk>/entries/", Entries.as_view(), name="ledger_entries"),
    path("ledgers/<uuid:pk>/raise/", Raise.as_view(), name="ledger_raise"),
    path(
        "ledgers/<uuid:pk>/recipient-caps/",
        RecipientCaps.as_view(),
        name="recipient_caps",
    ),
    path("cap-requests/<uuid:pk>/decide/", Decide.as_view(), name="cap_decide"),
]
