"""`manage.py export_audit_head`: sign the trail's end and write it to its folder."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from privacyhub.governance import gaps, heads
from privacyhub.governance.models import Ledger


class Command(BaseCommand):
    help = "Sign the ends of the audit trail and the ledgers; write them out."

    def handle(self, *args: Any, **options: Any) -> None:
        if gaps.find() is not None:
            raise CommandError(
                "The database does not reach the heads that were exported, or they are "
                "gone from their folder. Nothing was written over them."
            )
        try:
            signed = heads.export_audit_head()
            for pk in Ledger.objects.values_list("pk", flat=True):
                heads.export_ledger_head(pk)
        except OSError as error:
            raise CommandError(
                f"The folder of heads cannot be written: {error}."
            ) from error
        self.stdout.write(json.dumps(signed, indent=2))
        self.stderr.write(f"Written to {heads.folder()}.")
