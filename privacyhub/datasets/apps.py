"""Ties the fate of an upload to the end of the job that reads it."""

from __future__ import annotations

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "privacyhub.datasets"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from privacyhub.datasets import intake

        registry.when_ended(intake.job_ended)
