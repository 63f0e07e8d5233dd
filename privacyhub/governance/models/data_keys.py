"""Keys of files, wrapped."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q


class DataKey(models.Model):
    """A file's key, wrapped by the key-encryption key that is not in this database.

    Destroying the wrapped key erases every copy of what it protects.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    purpose = models.CharField(max_length=40)
    kek = models.CharField(max_length=40)
    wrapped = models.BinaryField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(destroyed_at=None) | Q(wrapped=None),
                name="destroyed_key_is_gone",
            )
        ]

    def __str__(self) -> str:
        return f"{self.purpose} key {self.id}"
