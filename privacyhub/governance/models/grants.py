"""Rights on one object."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Right(models.TextChoices):
    VIEW = "view", "View"
    USE = "use", "Use"
    MANAGE = "manage", "Manage"


class GrantQuerySet(models.QuerySet["Grant"]):
    def live(self) -> GrantQuerySet:
        now = timezone.now()
        return self.filter(revoked_at=None).filter(
            Q(expires_at=None) | Q(expires_at__gt=now)
        )

    def held_by(self, user: Any) -> GrantQuerySet:
        return self.live().filter(Q(user=user) | Q(group__user=user))


class Grant(models.Model):
    """A right on one object, given to a user or a group."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    group = models.ForeignKey(
        "auth.Group", null=True, blank=True, on_delete=models.CASCADE
    )
    right = models.CharField(max_length=10, choices=Right.choices)
    dataset = models.ForeignKey(
        "datasets.Dataset",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    version = models.ForeignKey(
        "datasets.Version",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    model = models.ForeignKey(
        "training.Model",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    report = models.ForeignKey(
        "assessment.Report",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    given_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="grants_given"
    )
    given_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True)

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["given_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None, group__isnull=False)
                | Q(user__isnull=False, group=None),
                name="grant_to_user_or_group",
            )
        ]

    def __str__(self) -> str:
        return f"{self.right} to {self.user or self.group}"
