"""Ties the ledger and the audit trail to the end of every job."""

from __future__ import annotations

from django.apps import AppConfig


class GovernanceConfig(AppConfig):
    name = "privacyhub.governance"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from privacyhub.governance import erasures, heads, hooks, keys

        registry.when_accepted(hooks.job_accepted)
        registry.when_starting(hooks.job_starting)
        registry.when_finishing(hooks.job_finishing)
        registry.when_cancel_asked(hooks.cancel_asked)
        registry.when_ended(hooks.job_ended)
        keys.when_destroyed(erasures.note)
        registry.when_tidying(erasures.note_missed)
        registry.when_tidying(heads.export_if_due)
