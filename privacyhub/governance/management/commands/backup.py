"""`manage.py backup DESTINATION`: copy the running hub, without its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from privacyhub.governance import backups
from privacyhub.governance.databases import BackupError


class Command(BaseCommand):
    help = "Copy database and sealed files to a new folder; with --keys, the keys."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("destination", type=Path)
        parser.add_argument(
            "--keys",
            action="store_true",
            help="copy the keys, and nothing else: to a place apart from the backup",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        destination: Path = options["destination"]
        try:
            if options["keys"]:
                names = backups.backup_keys(destination)
                self.stdout.write(f"Keys copied: {', '.join(names)}. Lock them away.")
                return
            made = backups.backup(destination)
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        size = sum(file["bytes"] for file in made["files"].values())
        self.stdout.write(
            f"{len(made['files'])} files, {size:,} bytes. The keys are not in it: "
            f"{settings.KEY_FILE.parent} is copied with --keys, to another place."
        )
