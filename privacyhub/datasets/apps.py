"""Ties uploads, rights and erasures to jobs and restores, and tidies the store."""

from __future__ import annotations

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "privacyhub.datasets"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from privacyhub.datasets import erasure, intake, services, sweeping
        from privacyhub.governance import backups

        registry.when_starting(services.job_starting)
        registry.when_ended(intake.job_ended)
        registry.when_tidying(sweeping.forget_left_uploads)
        registry.when_tidying(sweeping.sweep)
        backups.when_destroyed_again(erasure.mark_again)
