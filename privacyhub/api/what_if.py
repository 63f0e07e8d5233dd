"""What could still run on a ledger."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import find, problems
from privacyhub.engines.dp.accounting import odds
from privacyhub.governance import statement
from privacyhub.governance.models import Ledger
from privacyhub.governance.what_if import Answer
from privacyhub.training import what_if
from privacyhub.training.what_if import Question, Told


class QuestionSerializer(serializers.Serializer[Any]):
    """A run like an earlier one, or by its numbers; what is left out goes by rule."""

    training = serializers.UUIDField(
        required=False, help_text="a training run of this ledger to repeat"
    )
    units = serializers.IntegerField(
        required=False, min_value=1, max_value=10**12, help_text="default: 80% of N"
    )
    batch = serializers.IntegerField(
        required=False, min_value=1, help_text="units a step, on average"
    )
    epochs = serializers.FloatField(required=False, help_text="default 20")
    delta = serializers.DecimalField(
        required=False, max_digits=40, decimal_places=30, help_text="default 1/(10 N)"
    )
    runs = serializers.IntegerField(
        default=1, min_value=1, max_value=10_000, help_text="how often it must fit"
    )
    epsilon = serializers.DecimalField(
        required=False,
        max_digits=12,
        decimal_places=6,
        min_value=0,
        help_text="count the runs of this epsilon",
    )
    recipient = serializers.CharField(
        required=False,
        max_length=150,
        help_text="under whose cap, besides; default: yours",
    )


class AnswerSerializer(serializers.Serializer[Any]):
    """A run that fits: printed epsilon, noise, share of the cap, and how many."""

    epsilon = serializers.CharField()
    odds = serializers.FloatField()
    noise_multiplier = serializers.FloatField()
    uses_of_cap = serializers.CharField()
    runs_that_fit = serializers.IntegerField()


class ToldSerializer(serializers.Serializer[Any]):
    """`largest` is null where nothing fits; `asked` where no epsilon was named."""

    units = serializers.IntegerField()
    sampling_probability = serializers.FloatField()
    steps = serializers.IntegerField()
    delta = serializers.CharField()
    largest = AnswerSerializer(allow_null=True)
    asked = AnswerSerializer(allow_null=True)


class WhatIf(APIView):
    """The largest epsilon of a run that still fits. Reads the ledger, no data."""

    @extend_schema(
        parameters=[QuestionSerializer],
        responses={200: ToldSerializer, **problems(400, 404, 409)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        row = find(Ledger.objects.visible_to(request.user), pk)
        form = QuestionSerializer(data=request.query_params)
        form.is_valid(raise_exception=True)
        wanted = dict(form.validated_data)
        like = wanted.pop("training", None)
        if like is not None:
            known = what_if.recipes(ledger=row, user=request.user)
            wanted["like"] = next((run for run in known if run.pk == like), None)
            if wanted["like"] is None:
                gone = "No run of this ledger that could be repeated so."
                raise serializers.ValidationError({"training": [gone]})
        recipient = wanted.setdefault("recipient", request.user.username)
        if not statement.may_ask_for(
            ledger=row, user=request.user, recipient=recipient
        ):
            hidden = "Another owner shares this ledger: ask for yourself alone."
            raise serializers.ValidationError({"recipient": [hidden]})
        if "delta" in wanted:
            wanted["delta"] = format(wanted["delta"].normalize(), "f")
        told = what_if.ask(ledger=row, question=Question(**wanted))
        return Response(_told(told))


def _told(told: Told) -> dict[str, Any]:
    return {
        "units": told.units,
        "sampling_probability": told.shape.sampling_probability,
        "steps": told.shape.steps,
        "delta": told.shape.delta,
        "largest": _answer(told.largest),
        "asked": _answer(told.asked),
    }


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "epsilon": format(answer.epsilon, "f"),
        "odds": odds(float(answer.epsilon)),
        "noise_multiplier": answer.noise_multiplier,
        "uses_of_cap": str(answer.uses),
        "runs_that_fit": answer.runs,
    }


urlpatterns: list[URLPattern] = [
    path("ledgers/<uuid:pk>/what-if/", WhatIf.as_view(), name="ledger_what_if"),
]
