"""What a policy may name, as the form offers it: for scripts that build policies."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.anonymization.hierarchy_builders import BUILDERS
from privacyhub.anonymization.policy_models import COMPARISONS
from privacyhub.anonymization.vocabulary import (
    AGGREGATES,
    METHODS,
    METRICS,
    MODELS,
    TREATMENTS,
)
from privacyhub.api.answers import problems


class ParameterBody(serializers.Serializer[Any]):
    """A number within bounds, one of `choices`, or a word; `default` may be null."""

    name = serializers.CharField()
    label = serializers.CharField()
    default = serializers.JSONField()
    lower = serializers.FloatField()
    upper = serializers.FloatField(allow_null=True)
    whole = serializers.BooleanField()
    choices = serializers.ListField(child=serializers.CharField())
    optional = serializers.BooleanField()


class PrivacyModelBody(serializers.Serializer[Any]):
    """A privacy model; `needs`: hierarchy, subset, population."""

    name = serializers.CharField()
    label = serializers.CharField()
    group = serializers.CharField()
    says = serializers.CharField()
    protects = serializers.CharField()
    sensitive = serializers.BooleanField()
    needs = serializers.ListField(child=serializers.CharField())
    parameters = ParameterBody(many=True)


class MetricBody(serializers.Serializer[Any]):
    """A metric; `unit` is empty for a share from 0 to 1."""

    name = serializers.CharField()
    label = serializers.CharField()
    says = serializers.CharField()
    unit = serializers.CharField()
    options = serializers.SerializerMethodField()

    def get_options(self, kind: Any) -> list[str]:
        return sorted(kind.options)


class MethodBody(serializers.Serializer[Any]):
    """How values are recoded."""

    name = serializers.CharField()
    label = serializers.CharField()
    says = serializers.CharField()


class TreatmentBody(serializers.Serializer[Any]):
    """A treatment of a column; `numeric` is null where any kind fits."""

    name = serializers.CharField()
    label = serializers.CharField()
    says = serializers.CharField()
    roles = serializers.SerializerMethodField()
    numeric = serializers.BooleanField(allow_null=True)
    formal = serializers.BooleanField()
    parameters = ParameterBody(many=True)

    def get_roles(self, kind: Any) -> list[str]:
        return sorted(kind.roles)


class FieldBody(serializers.Serializer[Any]):
    """A parameter of a builder, as text."""

    name = serializers.CharField()
    label = serializers.CharField()
    default = serializers.CharField()
    hint = serializers.CharField()
    choices = serializers.ListField(child=serializers.CharField())


class BuilderBody(serializers.Serializer[Any]):
    """A builder of hierarchies."""

    name = serializers.CharField()
    label = serializers.CharField()
    says = serializers.CharField()
    parameters = FieldBody(many=True)

    def to_representation(self, kind: Any) -> dict[str, Any]:
        return {
            "name": kind.name,
            "label": kind.label,
            "says": kind.says,
            "parameters": FieldBody(kind.fields, many=True).data,
        }


class VocabularyBody(serializers.Serializer[Any]):
    """Everything that a policy may name."""

    models = PrivacyModelBody(many=True)
    metrics = MetricBody(many=True)
    aggregates = serializers.ListField(child=serializers.CharField())
    methods = MethodBody(many=True)
    treatments = TreatmentBody(many=True)
    comparisons = serializers.ListField(child=serializers.CharField())
    builders = BuilderBody(many=True)


class Vocabulary(APIView):
    """The models, metrics, methods and treatments with their parameters."""

    @extend_schema(
        operation_id="anonymizations_vocabulary",
        responses={200: VocabularyBody, **problems(401)},
    )
    def get(self, request: Request) -> Response:
        told = {
            "models": list(MODELS.values()),
            "metrics": list(METRICS.values()),
            "aggregates": list(AGGREGATES),
            "methods": list(METHODS.values()),
            "treatments": list(TREATMENTS.values()),
            "comparisons": list(COMPARISONS),
            "builders": list(BUILDERS.values()),
        }
        return Response(VocabularyBody(told).data)


urlpatterns = [
    path(
        "anonymizations/vocabulary/",
        Vocabulary.as_view(),
        name="anonymization_vocabulary",
    ),
]
