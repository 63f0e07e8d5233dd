"""Signing in and out, passwords, profile and tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import PasswordResetForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_POST, require_safe

from privacyhub.accounts import services, throttle, tokens
from privacyhub.accounts.forms import (
    NotificationsForm,
    ProfileForm,
    SignInForm,
    TokenForm,
)
from privacyhub.web.flash import explained

# Signing in and out


class SignIn(auth_views.LoginView):
    form_class = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: SignInForm) -> HttpResponse:
        response = super().form_valid(form)
        address = throttle.address_of(self.request)
        services.signed_in(user=form.get_user(), address=address)
        return response


class SignOut(auth_views.LogoutView):
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            services.signed_out(user=request.user)
        return super().post(request, *args, **kwargs)


# Passwords. A change ends the user's other sessions: their hash no longer fits.


class PasswordChange(auth_views.PasswordChangeView):
    success_url = reverse_lazy("web:password_change_done")

    def form_valid(self, form: Any) -> HttpResponse:
        services.password_changed(user=self.request.user, how="changed")
        return super().form_valid(form)


class PasswordReset(auth_views.PasswordResetView):
    form_class = PasswordResetForm
    success_url = reverse_lazy("web:password_reset_done")


class PasswordResetConfirm(auth_views.PasswordResetConfirmView):
    success_url = reverse_lazy("web:password_reset_complete")

    def form_valid(self, form: Any) -> HttpResponse:
        services.password_changed(user=self.user, how="reset")
        return super().form_valid(form)


# Settings

_TABS = (
    {"key": "profile", "label": "Profile", "symbol": "user"},
    {"key": "tokens", "label": "Tokens", "symbol": "key"},
    {"key": "notifications", "label": "Notifications", "symbol": "bell"},
)


@require_safe
def settings(request: HttpRequest) -> HttpResponse:
    return _settings_page(request, tab=request.GET.get("tab", "profile"))


def _settings_page(
    request: HttpRequest, *, tab: str, status: int = 200, **more: Any
) -> HttpResponse:
    """The page; `more` holds a form with errors, or a token to show once."""
    user = request.user
    context = {
        "tabs": _TABS,
        "tab": tab if tab in {known["key"] for known in _TABS} else "profile",
        "profile_form": ProfileForm(instance=user),
        "notifications_form": NotificationsForm(
            initial={"notify_by_mail": user.notify_by_mail}
        ),
        "token_form": TokenForm(),
        "tokens": SimpleLazyObject(lambda: user.tokens.order_by("-created_at")),
        **more,
    }
    return render(request, "accounts/settings.html", context, status=status)


@require_POST
def settings_profile(request: HttpRequest) -> HttpResponse:
    user = request.user
    form = ProfileForm(request.POST)
    if form.is_valid():
        with explained(request, form) as outcome:
            services.set_profile(
                user=user, notify_by_mail=user.notify_by_mail, **form.cleaned_data
            )
        if outcome.ok:
            messages.success(request, "Your profile is saved.")
            return _back("profile")
    return _settings_page(request, tab="profile", status=400, profile_form=form)


@require_POST
def settings_notifications(request: HttpRequest) -> HttpResponse:
    user = request.user
    form = NotificationsForm(request.POST)
    if form.is_valid():
        with explained(request, form) as outcome:
            services.set_profile(
                user=user,
                first_name=user.first_name,
                last_name=user.last_name,
                email=user.email,
                **form.cleaned_data,
            )
        if outcome.ok:
            messages.success(request, "Saved.")
            return _back("notifications")
    return _settings_page(
        request, tab="notifications", status=400, notifications_form=form
    )


@require_POST
def token_create(request: HttpRequest) -> HttpResponse:
    """The token is in this answer, and in no other."""
    form = TokenForm(request.POST)
    if form.is_valid():
        with explained(request, form) as outcome:
            _, token = tokens.create(user=request.user, **form.cleaned_data)
        if outcome.ok:
            return _settings_page(request, tab="tokens", fresh_token=token)
    return _settings_page(request, tab="tokens", status=400, token_form=form)


@require_POST
def token_revoke(request: HttpRequest, pk: Any) -> HttpResponse:
    token = get_object_or_404(request.user.tokens, pk=pk)
    tokens.revoke(token=token, by=request.user)
    messages.success(request, f"The token “{token.name}” is revoked.")
    return _back("tokens")


def _back(tab: str) -> HttpResponse:
    return redirect(f"{reverse('web:settings')}?tab={tab}")


urlpatterns: list[URLPattern] = [
    path("login/", SignIn.as_view(), name="login"),
    path("logout/", SignOut.as_view(), name="logout"),
    path("password/", PasswordChange.as_view(), name="password_change"),
    path(
        "password/done/",
        auth_views.PasswordChangeDoneView.as_view(),
        name="password_change_done",
    ),
    path("password/reset/", PasswordReset.as_view(), name="password_reset"),
    path(
        "password/reset/sent/",
        auth_views.PasswordResetDoneView.as_view(),
        name="password_reset_done",
    ),
    path(
        "password/reset/<uidb64>/<token>/",
        PasswordResetConfirm.as_view(),
        name="password_reset_confirm",
    ),
    path(
        "password/reset/complete/",
        auth_views.PasswordResetCompleteView.as_view(),
        name="password_reset_complete",
    ),
    path("settings/", settings, name="settings"),
    path("settings/profile/", settings_profile, name="settings_profile"),
    path(
        "settings/notifications/", settings_notifications, name="settings_notifications"
    ),
    path("settings/tokens/", token_create, name="token_create"),
    path("settings/tokens/<uuid:pk>/revoke/", token_revoke, name="token_revoke"),
]
