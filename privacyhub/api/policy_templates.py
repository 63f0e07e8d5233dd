"""Policies kept under a name, and the keys of pseudonyms."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.anonymization import policy_templates as templates
from privacyhub.anonymization import pseudonyms
from privacyhub.anonymization.models import PolicyTemplate, PseudonymDomain
from privacyhub.api.answers import find, problems
from privacyhub.api.idempotency import idempotent_atomic


class TemplateBody(serializers.ModelSerializer[PolicyTemplate]):
    """A policy under a name; it holds columns and parameters."""

    owner = serializers.CharField(source="owner.username")
    policy = serializers.JSONField()

    class Meta:
        model = PolicyTemplate
        fields = ("id", "name", "owner", "policy", "created_at")
        read_only_fields = fields


class NewTemplate(serializers.Serializer[Any]):
    """A policy to keep."""

    name = serializers.CharField(max_length=200)
    policy = serializers.DictField()


class DomainBody(serializers.ModelSerializer[PseudonymDomain]):
    """A domain of pseudonyms; they join across tables until its key is destroyed."""

    owner = serializers.CharField(source="owner.username")

    class Meta:
        model = PseudonymDomain
        fields = ("id", "name", "owner", "created_at", "destroyed_at")
        read_only_fields = fields


class TemplateList(ListAPIView):
    """The user's templates; a POST keeps one."""

    serializer_class = TemplateBody

    def get_queryset(self) -> QuerySet[PolicyTemplate]:
        if getattr(self, "swagger_fake_view", False):
            return PolicyTemplate.objects.none()
        return _templates(self.request.user)

    @extend_schema(
        operation_id="policy_templates_list",
        responses={200: TemplateBody(many=True), **problems(401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="policy_templates_create",
        request=NewTemplate,
        responses={201: TemplateBody, **problems(400, 401, 403, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request) -> Response:
        body = NewTemplate(data=request.data)
        body.is_valid(raise_exception=True)
        kept = templates.save(by=request.user, **body.validated_data)
        return Response(TemplateBody(kept).data, status=201)


class TemplateDetail(APIView):
    """One template, or its end."""

    @extend_schema(
        operation_id="policy_templates_retrieve",
        responses={200: TemplateBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return Response(TemplateBody(find(_templates(request.user), pk)).data)

    @extend_schema(
        operation_id="policy_templates_destroy",
        responses={204: None, **problems(401, 403, 404)},
    )
    def delete(self, request: Request, pk: Any) -> Response:
        templates.delete(template=find(_templates(request.user), pk), by=request.user)
        return Response(status=204)


class DomainList(ListAPIView):
    """The user's domains of pseudonyms."""

    serializer_class = DomainBody

    def get_queryset(self) -> QuerySet[PseudonymDomain]:
        if getattr(self, "swagger_fake_view", False):
            return PseudonymDomain.objects.none()
        return _domains(self.request.user)

    @extend_schema(
        operation_id="pseudonym_domains_list",
        responses={200: DomainBody(many=True), **problems(401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class DomainDestroy(APIView):
    """Destroys the key of a domain: its pseudonyms join with none to come."""

    @extend_schema(
        operation_id="pseudonym_domains_destroy_key",
        request=None,
        responses={200: DomainBody, **problems(401, 403, 404, 409)},
    )
    def post(self, request: Request, pk: Any) -> Response:
        domain = find(_domains(request.user), pk)
        pseudonyms.destroy(domain=domain, by=request.user)
        return Response(DomainBody(find(_domains(request.user), pk)).data)


def _templates(user: Any) -> QuerySet[PolicyTemplate]:
    return PolicyTemplate.objects.visible_to(user).select_related("owner")


def _domains(user: Any) -> QuerySet[PseudonymDomain]:
    return PseudonymDomain.objects.visible_to(user).select_related("owner")


urlpatterns = [
    path("policy-templates/", TemplateList.as_view(), name="policy_templates"),
    path(
        "policy-templates/<uuid:pk>/", TemplateDetail.as_view(), name="policy_template"
    ),
    path("pseudonym-domains/", DomainList.as_view(), name="pseudonym_domains"),
    path(
        "pseudonym-domains/<uuid:pk>/destroy/",
        DomainDestroy.as_view(),
        name="pseudonym_domain_destroy",
    ),
]
