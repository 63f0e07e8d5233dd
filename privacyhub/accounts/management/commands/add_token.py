"""`manage.py add_token NAME`: an API token for a user, shown once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from privacyhub.accounts import tokens
from privacyhub.accounts.models import Scope, User


class Command(BaseCommand):
    help = "Create an API token."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--scope", choices=Scope.values, default=Scope.WRITE)
        parser.add_argument("--days", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["name"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {options['name']}.")
        _, token = tokens.create(
            user=user, name="console", scope=options["scope"], days=options["days"]
        )
        self.stdout.write(token)
