"""Guessing passwords is slow: failures are counted by account and by address.

A name without an account counts like any other, so a refusal tells nobody which
names exist.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from privacyhub.accounts.models import LoginFailure

_LONGEST_NAME = 150


def address_of(request: Any) -> str | None:
    """The caller's address; behind our proxy, the one that the proxy itself saw.

    Only the last entry of X-Forwarded-For is the proxy's word: the ones before it
    are whatever the caller sent.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    if settings.SECURE_PROXY_SSL_HEADER and forwarded:
        return forwarded.rsplit(",", 1)[-1].strip() or None
    return request.META.get("REMOTE_ADDR") or None


def is_closed(*, username: str, address: str | None) -> bool:
    """Whether the account or the address has used up its attempts for now."""
    recent = LoginFailure.objects.filter(at__gt=timezone.now() - settings.LOGIN_WINDOW)
    by_account = recent.filter(username=_key(username)).count()
    if by_account >= settings.LOGIN_ATTEMPTS:
        return True
    if address is None:
        return False
    return recent.filter(address=address).count() >= settings.LOGIN_ATTEMPTS


def note_failure(*, username: str, address: str | None) -> None:
    """Count one, and forget those that count no more."""
    LoginFailure.objects.filter(at__lt=timezone.now() - settings.LOGIN_WINDOW).delete()
    LoginFailure.objects.create(username=_key(username), address=address)


def forget(*, username: str, address: str | None) -> None:
    """After a login: the account's failures from this address were the user's own.

    Those of others stay, or an attacker's own account would reset the address.
    """
    own = Q(username=_key(username), address=address)
    LoginFailure.objects.filter(own).delete()


def _key(username: str) -> str:
    return username.strip().lower()[:_LONGEST_NAME]
