"""Keeps the answer to a request with what the request does."""

from __future__ import annotations

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "privacyhub.api"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from privacyhub.api import idempotency
        from privacyhub.governance import audit

        registry.when_accepted(idempotency.job_accepted)
        audit.when_recorded(idempotency.took_effect)
        registry.when_tidying(idempotency.discard_old)
