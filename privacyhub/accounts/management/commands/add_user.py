"""`manage.py add_user NAME --role ROLE`: a user, from the machine's own console."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from privacyhub.accounts import services
from privacyhub.accounts.errors import AccountError
from privacyhub.accounts.roles import Role


class Command(BaseCommand):
    help = "Create a user. Without --password one is made and shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--role", choices=Role.values, required=True)
        parser.add_argument("--email", default="")
        parser.add_argument("--password")

    def handle(self, *args: Any, **options: Any) -> None:
        password = options["password"] or secrets.token_urlsafe(12)
        try:
            services.create_user(
                username=options["name"],
                email=options["email"],
                role=options["role"],
                password=password,
                by="console",
            )
        except AccountError as error:
            raise CommandError(error.message) from error
        if not options["password"]:
            self.stdout.write(f"password {password}")
