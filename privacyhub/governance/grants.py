"""Sharing: a right on one object for a user, given and taken on the record."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from privacyhub.governance import audit
from privacyhub.governance.models import Grant, Right


@transaction.atomic
def give(
    *,
    target: Any,
    right: str,
    by: Any,
    user: Any = None,
    group: Any = None,
    expires_at: datetime | None = None,
) -> Grant:
    """Give a right on a dataset, version, model or report.

    The same right given again replaces the earlier grant (and its expiry).
    """
    field = target._meta.model_name
    same = Grant.objects.filter(user=user, group=group, **{field: target}).live()
    same.update(revoked_at=timezone.now())
    grant = Grant.objects.create(
        user=user,
        group=group,
        right=Right(right),
        given_by=by,
        expires_at=expires_at,
        **{field: target},
    )
    audit.record(
        actor=by,
        action="grant.give",
        target=target,
        right=right,
        to=str(getattr(user or group, "username", group)),
        expires_at=expires_at,
    )
    return grant


@transaction.atomic
def revoke(*, grant: Grant, by: Any) -> None:
    row = Grant.objects.select_for_update().get(pk=grant.pk)
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        target = row.dataset or row.version or row.model or row.report
        audit.record(actor=by, action="grant.revoke", target=target, grant=row.pk)
