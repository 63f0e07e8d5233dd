"""`manage.py verify_audit`: recompute every chain; exit 1 where one breaks."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from privacyhub.governance.verification import verify


class Command(BaseCommand):
    help = "Check the audit trail, the ledgers and the exported heads."

    def handle(self, *args: Any, **options: Any) -> None:
        told = verify()
        if not told.holds:
            bad = told.first_bad_row
            first = f" First bad line of the trail: line {bad}." if bad else ""
            raise CommandError(" ".join(told.problems) + first)
        ending = f", ending in {told.head}" if told.lines else ""
        self.stdout.write(
            f"{told.lines} lines hold{ending}; {told.ledgers} ledgers and "
            f"{told.heads_checked} exported heads agree."
        )
