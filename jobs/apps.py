"""The queue's Django app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.backends.signals import connection_created


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from jobs import checkpoints, registry  # the app registry is ready only now

        registry.when_ended(lambda job: checkpoints.discard(job=job))
        registry.when_tidying(checkpoints.discard_orphans)
        connection_created.connect(_free_the_locks_of_the_halted)


def _free_the_locks_of_the_halted(connection: Any, **_: Any) -> None:
    """A process that is halted in a transaction keeps its row locks for a lease only:
    PostgreSQL then ends its session, and others go on."""
    if connection.vendor == "postgresql":
        patience = int(settings.JOB_LEASE.total_seconds() * 1000)
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = {patience}")
