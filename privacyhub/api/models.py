"""Answers kept for `Idempotency-Key`."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import models

from privacyhub.engines.tables.sealed import seal, unseal
from privacyhub.governance import keys


class KeptAnswer(models.Model):
    """The answer to a POST with a key: sent again for the same key and body.

    body_digest: a keyed hash. The answer is sealed under a key of the instance.
    attempt: the fencing token of the request that is at work, until `lease_until`.
    took_effect: set in the transaction of what the request does.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    route = models.CharField(max_length=200)
    key = models.CharField(max_length=200)
    body_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)  # null while in progress
    attempt = models.PositiveIntegerField(default=1)
    lease_until = models.DateTimeField(null=True)
    took_effect = models.BooleanField(default=False)
    sealed_body = models.BinaryField(null=True)
    location = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "route", "key"], name="answer_once_a_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"

    @property
    def body(self) -> Any:
        """The answer as JSON; None while in progress."""
        if self.sealed_body is None:
            return None
        content = unseal(bytes(self.sealed_body), key=_key(), context=self._context())
        return json.loads(content)

    @body.setter
    def body(self, told: Any) -> None:
        content = json.dumps(told, default=str).encode()
        self.sealed_body = seal(content, key=_key(), context=self._context())

    def _context(self) -> bytes:
        return f"answer:{self.pk}".encode()


def _key() -> bytes:
    return keys.identity_key("kept answers")
