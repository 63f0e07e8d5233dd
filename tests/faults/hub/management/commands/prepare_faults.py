"""`manage.py prepare_faults`: tables, a steward with a token, and ledgers; as JSON."""

from __future__ import annotations

import json
import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from privacyhub.accounts import tokens
from privacyhub.accounts.models import User
from privacyhub.governance import ledger

UNITS = 1_000_000


class Command(BaseCommand):
    help = "Make what a run of the fault list needs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--ledgers", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", run_syncdb=True, verbosity=0)
        steward = User.objects.create_user(
            username="steward", password=secrets.token_urlsafe(12), role="steward"
        )
        _, token = tokens.create(user=steward, name="faults", scope="write", days=1)
        ledgers = [_ledger(number, steward) for number in range(options["ledgers"])]
        self.stdout.write(json.dumps({"token": token, "ledgers": ledgers}))


def _ledger(number: int, steward: User) -> str:
    made = ledger.open_ledger(
        name=f"Family {number}", fingerprint=secrets.token_hex(32)
    )
    ledger.declare(
        ledger=made,
        by=steward,
        declared_units=UNITS,
        epsilon_cap="100",
        delta_cap="1e-7",
    )
    return str(made.pk)
