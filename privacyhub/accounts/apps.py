"""Ties notices to the end of every job."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "privacyhub.accounts"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from privacyhub.accounts import notices

        registry.when_ended(notices.job_ended)
