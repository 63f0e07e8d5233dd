"""`manage.py verify_audit`: recompute the chain; exit 1 where it breaks."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from privacyhub.governance import audit
from privacyhub.governance.models import AuditHead


class Command(BaseCommand):
    help = "Check every line of the audit trail against the chain of hashes."

    def handle(self, *args: Any, **options: Any) -> None:
        bad = audit.first_bad_row()
        if bad is not None:
            raise CommandError(f"The audit trail does not hold from line {bad} on.")
        head = AuditHead.objects.filter(pk=1).first()
        length = head.sequence if head else 0
        ending = f", ending in {head.hash}" if head else ""
        self.stdout.write(f"{length} lines hold{ending}.")
