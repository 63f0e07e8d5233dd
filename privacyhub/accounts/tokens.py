"""API tokens: made, found and revoked. The token itself is never stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from privacyhub.accounts.models import ApiToken, Scope, User

_PREFIX = "phub_"


def _digest(token: str) -> str:
    """HMAC under the instance's secret: a stolen table cannot be searched."""
    pepper = settings.SECRET_KEY.encode()
    return hmac.new(pepper, token.encode(), hashlib.sha256).hexdigest()


@transaction.atomic
def create(
    *, user: User, name: str, scope: str = Scope.WRITE, days: int = 90
) -> tuple[ApiToken, str]:
    """The row, and the token: show it now, it cannot be shown again."""
    token = _PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=token[:12],
        digest=_digest(token),
        scope=scope,
        expires_at=timezone.now() + timedelta(days=days),
    )
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


def revoke(*, token: ApiToken) -> None:
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(
        revoked_at=timezone.now()
    )
