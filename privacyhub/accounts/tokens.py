"""API tokens: made, found and revoked. The token itself is never stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from privacyhub.accounts.errors import AccountError
from privacyhub.accounts.models import ApiToken, Scope, User
from privacyhub.governance import audit

_PREFIX = "phub_"
LONGEST_DAYS = 365
MOST_TOKENS = 50


def _digest(token: str) -> str:
    """HMAC under the instance's secret: a stolen table cannot be searched."""
    pepper = settings.SECRET_KEY.encode()
    return hmac.new(pepper, token.encode(), hashlib.sha256).hexdigest()


@transaction.atomic
def create(
    *, user: User, name: str, scope: str = Scope.WRITE, days: int = 90
) -> tuple[ApiToken, str]:
    """The row, and the token: show it now, it cannot be shown again."""
    name = name.strip()
    if not 1 <= len(name) <= 80:
        raise AccountError("A token's name has 1 to 80 characters.", field="name")
    if scope not in Scope.values:
        raise AccountError("A scope is read or write.", field="scope")
    if not 1 <= days <= LONGEST_DAYS:
        raise AccountError(f"A token lives for 1 to {LONGEST_DAYS} days.", field="days")
    live = ApiToken.objects.filter(
        user=user, revoked_at=None, expires_at__gt=timezone.now()
    )
    if live.count() >= MOST_TOKENS:
        raise AccountError(f"You have {MOST_TOKENS} tokens. Revoke one first.")
    token = _PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=token[:12],
        digest=_digest(token),
        scope=scope,
        expires_at=timezone.now() + timedelta(days=days),
    )
    audit.record(actor=user, action="token.create", target=row, scope=scope, days=days)
    return row, token


def find(token: str) -> ApiToken | None:
    """The live token of an active user, else None."""
    now = timezone.now()
    row = (
        ApiToken.objects.select_related("user")
        .filter(
            digest=_digest(token),
            revoked_at=None,
            expires_at__gt=now,
            user__is_active=True,
        )
        .first()
    )
    if row and (
        row.last_used_at is None or now - row.last_used_at > timedelta(minutes=1)
    ):
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    return row


@transaction.atomic
def revoke(*, token: ApiToken, by: User) -> None:
    """The token is refused from now on."""
    live = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
    if live.update(revoked_at=timezone.now()):
        audit.record(actor=by, action="token.revoke", target=token)
