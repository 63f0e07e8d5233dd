"""Ties uploads to the end of the job that reads them, and keeps the store tidy."""

from __future__ import annotations

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "privacyhub.datasets"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from privacyhub.datasets import intake, sweeping

        registry.when_ended(intake.job_ended)
        registry.when_tidying(sweeping.sweep)
