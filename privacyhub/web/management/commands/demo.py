"""`manage.py demo`: the hub, with its main job run as a script would run it."""

from __future__ import annotations

import io
import json
import secrets
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from jobs.models import Worker
from privacyhub.accounts import services as accounts
from privacyhub.accounts import tokens
from privacyhub.accounts.models import User
from privacyhub.accounts.roles import Role
from privacyhub.api.client import Client, JobEnded, Refused
from privacyhub.api.main_job import MainJob, StepFailed, Table
from privacyhub.engines.tables import patient_register
from privacyhub.web.management.commands.serve import (
    LOGS,
    Hub,
    prepare,
    stop_on_sigterm,
)

FIGURES = "demo.json"
REGISTER = "Patient register"


class Command(BaseCommand):
    help = "Serve the hub and run the main job on a generated patient register."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--oneshot", action="store_true")
        parser.add_argument("--file", type=Path)
        parser.add_argument("--target")
        parser.add_argument("--epsilon", default="1")

    def handle(self, *args: Any, **options: Any) -> None:
        table = self._table(options)
        prepare(self.stdout)
        self._users()
        Worker.objects.all().delete()  # of an earlier start: readiness asks anew
        connection.close()
        stop_on_sigterm()
        try:
            with Hub(port=options["port"]) as hub:
                hub.wait_until_ready()
                self._main_job(hub, table, options)
                self.stdout.write(f"PrivacyHub is at {hub.address}; logs in {LOGS}")
                if not options["oneshot"]:
                    hub.wait()
        except KeyboardInterrupt:
            self.stdout.write("stopped")

    def _table(self, options: dict[str, Any]) -> Table | None:
        """The person's own file, or the register; None when that one ran before."""
        file = options["file"]
        if file is None:
            if self._figures_file.exists():
                return None
            buffer = io.BytesIO()
            patient_register().write_csv(buffer)
            return Table(
                name=REGISTER,
                file_name="patient_register.csv",
                content=buffer.getvalue(),
                target="readmitted",
                purpose="Predict readmission within 30 days (generated data)",
            )
        if not file.is_file():
            raise CommandError(f"There is no file {file}.")
        if not options["target"]:
            raise CommandError("Name the column to predict: TARGET=column.")
        return Table(
            name=file.stem,
            file_name=file.name,
            content=file.read_bytes(),
            target=options["target"],
            purpose="",
        )

    def _users(self) -> None:
        """Four users, one a role. Their passwords are shown this once."""
        for role in Role:
            if User.objects.filter(username=role.value).exists():
                continue
            password = secrets.token_urlsafe(12)
            accounts.create_user(
                username=role.value,
                email="",
                role=role,
                password=password,
                by="system",
            )
            self.stdout.write(f"user {role.value:<8} password {password}")

    def _main_job(self, hub: Hub, table: Table | None, options: dict[str, Any]) -> None:
        if table is None:
            self.stdout.write(
                f"The main job ran before; its figures are in {self._figures_file}."
            )
            return
        began = time.monotonic()
        job = MainJob(
            steward=self._client(hub, Role.STEWARD),
            analyst=self._client(hub, Role.ANALYST),
            analyst_name=Role.ANALYST,
            table=table,
            epsilon=options["epsilon"],
            say=self.stdout.write,
        )
        try:
            figures = job.run()
        except (StepFailed, Refused, JobEnded, TimeoutError) as error:
            raise CommandError(f"The main job did not hold: {error}") from error
        seconds = time.monotonic() - began
        self._figures_file.write_text(json.dumps(figures.to_dict(), indent=1))
        self.stdout.write(f"The main job took {seconds:.0f} s.")
        self.stdout.write(f"Its report: {hub.address}/reports/{job.report_id}/")

    @property
    def _figures_file(self) -> Path:
        return Path(settings.VAR_DIR) / FIGURES

    def _client(self, hub: Hub, role: Role) -> Client:
        user = User.objects.get(username=role.value)
        _, token = tokens.create(user=user, name="demo", days=1)
        connection.close()
        return Client(hub.address, token=token)
