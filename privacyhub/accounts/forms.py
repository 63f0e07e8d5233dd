"""Forms of the account pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from privacyhub.accounts import services, throttle
from privacyhub.accounts.models import Scope, User
from privacyhub.accounts.roles import Role

CLOSED = "Too many attempts. Wait a quarter of an hour, or reset your password."


class SignInForm(AuthenticationForm):
    """Name and password; refuses for a while after too many failures."""

    error_messages = {
        "invalid_login": "The name or the password is wrong.",
        "inactive": "The name or the password is wrong.",
    }

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username") or ""
        address = throttle.address_of(self.request)
        if throttle.is_closed(username=username, address=address):
            services.sign_in_failed(username=username, address=address, closed=True)
            raise ValidationError(CLOSED, code="closed")
        try:
            return super().clean()
        except ValidationError:
            services.sign_in_failed(username=username, address=address, closed=False)
            raise


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["first_name", "last_name", "email"]
        labels = {"first_name": "First name", "last_name": "Last name"}


class NotificationsForm(forms.Form):
    notify_by_mail = forms.BooleanField(
        required=False, label="Send me a mail when a job of mine ends"
    )


class TokenForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="What will use it.")
    scope = forms.ChoiceField(choices=Scope.choices, initial=Scope.READ)
    days = forms.TypedChoiceField(
        label="Expires after",
        choices=[(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "a year")],
        coerce=int,
        initial=90,
    )


class NewUserForm(forms.Form):
    username = forms.CharField(max_length=150, label="User name")
    full_name = forms.CharField(max_length=200, required=False, label="Full name")
    email = forms.EmailField(required=False, label="E-mail")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ANALYST)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)
