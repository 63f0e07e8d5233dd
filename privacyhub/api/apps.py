"""Keeps the answer to a request with the job that it submits."""

from __future__ import annotations

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "privacyhub.api"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from privacyhub.api import idempotency

        registry.when_accepted(idempotency.job_accepted)
        registry.when_tidying(idempotency.discard_old)
