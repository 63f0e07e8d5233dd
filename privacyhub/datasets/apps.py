"""Ties uploads to the end of their jobs and erasures to a restore; tidies the store."""

from __future__ import annotations

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "privacyhub.datasets"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from privacyhub.datasets import erasure, intake, sweeping
        from privacyhub.governance import backups

        registry.when_ended(intake.job_ended)
        registry.when_tidying(sweeping.forget_left_uploads)
        registry.when_tidying(sweeping.sweep)
        backups.when_destroyed_again(erasure.mark_again)
