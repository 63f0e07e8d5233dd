"""Users, for administrators: made, given another role, closed, helped in again."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_POST

from privacyhub.accounts import services
from privacyhub.accounts.forms import NewUserForm, RoleForm
from privacyhub.accounts.models import User
from privacyhub.accounts.roles import Permission, Role
from privacyhub.web.flash import explained

PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
def users(request: HttpRequest) -> HttpResponse:
    """The list; a POST makes a user and shows the link to a first password."""
    _require_administrator(request)
    form = NewUserForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with explained(request, form) as outcome:
            user = services.create_user(by=request.user, **form.cleaned_data)
        if outcome.ok:
            return _list(request, link_for=user)
    return _list(request, form=form, status=400 if form.errors else 200)


def _list(
    request: HttpRequest,
    *,
    form: NewUserForm | None = None,
    link_for: User | None = None,
    status: int = 200,
) -> HttpResponse:
    everyone = User.objects.order_by("-is_active", "username")
    context = {
        "form": form or NewUserForm(),
        "page_obj": Paginator(everyone, PAGE).get_page(request.GET.get("page")),
        "roles": Role.choices,
        "link_for": link_for,
        "link": _link(request, link_for) if link_for else "",
    }
    return render(request, "accounts/users.html", context, status=status)


def _link(request: HttpRequest, user: User) -> str:
    uid, token = services.reset_link(user=user, by=request.user)
    where = reverse("web:password_reset_confirm", args=[uid, token])
    return request.build_absolute_uri(where)


@require_POST
def user_role(request: HttpRequest, pk: Any) -> HttpResponse:
    user = _find(request, pk)
    form = RoleForm(request.POST)
    if form.is_valid():
        with explained(request) as outcome:
            services.set_role(
                user=user, role=form.cleaned_data["role"], by=request.user
            )
        if outcome.ok:
            messages.success(request, f"{user.username} has another role now.")
    return redirect("web:users")


@require_POST
def user_active(request: HttpRequest, pk: Any) -> HttpResponse:
    """Close an account, or open it again."""
    user = _find(request, pk)
    with explained(request) as outcome:
        if request.POST.get("active") == "yes":
            services.activate(user=user, by=request.user)
        else:
            services.deactivate(user=user, by=request.user)
    if outcome.ok:
        messages.success(request, f"The account of {user.username} is changed.")
    return redirect("web:users")


@require_POST
def user_reset_link(request: HttpRequest, pk: Any) -> HttpResponse:
    user = _find(request, pk)
    with explained(request):
        return _list(request, link_for=user)
    return redirect("web:users")


def _find(request: HttpRequest, pk: Any) -> User:
    _require_administrator(request)
    return get_object_or_404(User, pk=pk)


def _require_administrator(request: HttpRequest) -> None:
    if not request.user.may(Permission.MANAGE_USERS):
        raise PermissionDenied


urlpatterns: list[URLPattern] = [
    path("users/", users, name="users"),
    path("users/<uuid:pk>/role/", user_role, name="user_role"),
    path("users/<uuid:pk>/active/", user_active, name="user_active"),
    path("users/<uuid:pk>/reset-link/", user_reset_link, name="user_reset_link"),
]
