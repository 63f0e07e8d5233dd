"""`manage.py restore SOURCE`: put a backup in this hub's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from privacyhub.governance import backups, heads
from privacyhub.governance.databases import BackupError


class Command(BaseCommand):
    help = "Check a backup and restore it. The hub must be stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", type=Path)
        parser.add_argument(
            "--replace",
            action="store_true",
            help="give up everything that this hub holds now",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = backups.restore(options["source"], replace=options["replace"])
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Restored {done.files} files of {done.made_at}. Sessions were ended; "
            f"{done.keys_destroyed} keys that were destroyed since stay so. Revoke "
            "again what else was revoked since: tokens, grants, users."
        )
        if done.gap is not None and done.gap.heads_are_gone:
            self.stdout.write(
                "The exported heads of this hub are not in their folder, so nobody can "
                f"tell whether the backup is the newest. Copy {heads.folder()} back "
                "from where the hub ran. Until then, or until two people have "
                "acknowledged on the page Ledger or over REST that the heads are lost, "
                "no ledger reserves or charges."
            )
        elif done.gap is not None:
            self.stdout.write(
                f"The backup is older than the exported heads: {done.gap.lines} lines "
                f"of ledgers and {done.gap.audit_lines} of the audit trail are gone. "
                "No ledger reserves or charges until two people have acknowledged "
                "this, on the page Ledger or over REST."
            )
