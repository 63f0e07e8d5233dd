"""The user behind the token, their tokens, and users for administrators."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import URLPattern, path, reverse
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.accounts import services, tokens
from privacyhub.accounts.models import ApiToken, Scope, User
from privacyhub.accounts.roles import NotAllowed, Permission, Role
from privacyhub.api.answers import find
from privacyhub.api.idempotency import idempotent_atomic


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = [
            "id",
            "username",
            "first_name",
            "last_name",
            "email",
            "role",
            "is_active",
            "date_joined",
            "last_login",
        ]
        read_only_fields = fields


class NewUserSerializer(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    email = serializers.EmailField(required=False, default="", allow_blank=True)
    full_name = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=200
    )
    role = serializers.ChoiceField(choices=Role.choices)


class UserChangeSerializer(serializers.Serializer):
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    is_active = serializers.BooleanField(required=False)


class ResetLinkSerializer(serializers.Serializer):
    """The path of a page that sets a password: works once, for 24 hours."""

    path = serializers.CharField()


class TokenSerializer(serializers.ModelSerializer):
    class Meta:
        model = ApiToken
        fields = [
            "id",
            "name",
            "prefix",
            "scope",
            "created_at",
            "expires_at",
            "last_used_at",
            "revoked_at",
        ]
        read_only_fields = fields


class NewTokenSerializer(serializers.Serializer):
    name = serializers.CharField(max_length=80)
    scope = serializers.ChoiceField(choices=Scope.choices)
    days = serializers.IntegerField(
        min_value=1, max_value=tokens.LONGEST_DAYS, default=90
    )


class FreshTokenSerializer(TokenSerializer):
    """`token` is in this answer and in no other."""

    token = serializers.CharField()

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


class Me(APIView):
    @extend_schema(responses=UserSerializer)
    def get(self, request: Request) -> Response:
        return Response(UserSerializer(request.user).data)


class Tokens(generics.ListAPIView):
    serializer_class = TokenSerializer

    def get_queryset(self) -> QuerySet[ApiToken]:
        if getattr(self, "swagger_fake_view", False):
            return ApiToken.objects.none()
        return self.request.user.tokens.order_by("-created_at")

    @extend_schema(request=NewTokenSerializer, responses={201: FreshTokenSerializer})
    def post(self, request: Request) -> Response:
        """Not idempotent by key: an answer that is kept would keep the token."""
        form = NewTokenSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row, token = tokens.create(user=request.user, **form.validated_data)
        return Response({**TokenSerializer(row).data, "token": token}, status=201)


class Token(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: Any) -> Response:
        """Revoke the token."""
        tokens.revoke(token=find(request.user.tokens.all(), pk), by=request.user)
        return Response(status=204)


class Users(generics.ListAPIView):
    serializer_class = UserSerializer

    def get_queryset(self) -> QuerySet[User]:
        if getattr(self, "swagger_fake_view", False):
            return User.objects.none()
        _require_administrator(self.request)
        return User.objects.order_by("username")

    @extend_schema(request=NewUserSerializer, responses={201: UserSerializer})
    @idempotent_atomic
    def post(self, request: Request) -> Response:
        form = NewUserSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        user = services.create_user(by=request.user, **form.validated_data)
        return Response(UserSerializer(user).data, status=201)


class UserDetail(APIView):
    @extend_schema(responses=UserSerializer)
    def get(self, request: Request, pk: Any) -> Response:
        return Response(UserSerializer(_find(request, pk)).data)

    @extend_schema(request=UserChangeSerializer, responses=UserSerializer)
    def patch(self, request: Request, pk: Any) -> Response:
        """Give another role, close the account, or open it again."""
        form = UserChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        user = _find(request, pk)
        if "role" in form.validated_data:
            role = form.validated_data["role"]
            user = services.set_role(user=user, role=role, by=request.user)
        if "is_active" in form.validated_data:
            opened = form.validated_data["is_active"]
            change = services.activate if opened else services.deactivate
            user = change(user=user, by=request.user)
        return Response(UserSerializer(user).data)


class UserResetLink(APIView):
    @extend_schema(request=None, responses={201: ResetLinkSerializer})
    def post(self, request: Request, pk: Any) -> Response:
        parts = services.reset_link(user=_find(request, pk), by=request.user)
        where = reverse("web:password_reset_confirm", args=parts)
        return Response({"path": where}, status=201)


def _find(request: Request, pk: Any) -> User:
    _require_administrator(request)
    return find(User.objects.all(), pk)


def _require_administrator(request: Any) -> None:
    if not request.user.may(Permission.MANAGE_USERS):
        raise NotAllowed


urlpatterns: list[URLPattern] = [
    path("me/", Me.as_view(), name="me"),
    path("me/tokens/", Tokens.as_view(), name="tokens"),
    path("me/tokens/<uuid:pk>/", Token.as_view(), name="token"),
    path("users/", Users.as_view(), name="users"),
    path("users/<uuid:pk>/", UserDetail.as_view(), name="user"),
    path(
        "users/<uuid:pk>/reset-link/", UserResetLink.as_view(), name="user_reset_link"
    ),
]
