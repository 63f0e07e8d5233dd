"""`manage.py serve`: the whole hub on this machine, or one of its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from privacyhub import processes
from privacyhub.assessment import report_pdf

LOGS = Path(settings.VAR_DIR) / "log"
READY_WITHIN = 60.0
# A worker gives back what it cannot end; then it is ended.
GRACE = (settings.JOB_DRAIN + settings.JOB_DRAIN_GRACE).total_seconds() + 10


class Hub:
    """Web and worker as children; when one ends, the other does too."""

    def __init__(self, *, port: int, host: str = "127.0.0.1") -> None:
        self.address = f"http://{host}:{port}"
        self._commands = {
            "web": processes.web(address=f"{host}:{port}"),
            "worker": processes.worker(),
        }
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Hub:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        LOGS.mkdir(parents=True, exist_ok=True)
        for name, command in self._commands.items():
            with (LOGS / f"{name}.log").open("ab") as log:
                self._children[name] = subprocess.Popen(  # noqa: S603 - ours
                    command,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        until = time.monotonic() + GRACE
        for child in self._children.values():
            try:
                child.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)

    def wait_until_ready(self) -> None:
        """Until the pages answer and a worker has said that it lives."""
        until = time.monotonic() + READY_WITHIN
        while time.monotonic() < until:
            self.require_alive()
            try:
                with urllib.request.urlopen(f"{self.address}/readyz", timeout=5):  # noqa: S310
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise CommandError(f"The hub did not answer within {READY_WITHIN:.0f} s.")

    def require_alive(self) -> None:
        for name, child in self._children.items():
            if child.poll() is not None:
                raise CommandError(
                    f"The hub's {name} process ended by itself. "
                    f"{LOGS / name}.log tells why."
                )

    def wait(self) -> None:
        while True:
            self.require_alive()
            time.sleep(0.5)


def prepare(out: Any) -> None:
    """Database and a word on what is missing for PDFs."""
    call_command("migrate", verbosity=0)
    connection.close()
    if not report_pdf.is_available():
        out.write(f"{report_pdf.MISSING}. Everything else works.")


def stop_on_sigterm() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


class Command(BaseCommand):
    help = "Serve the hub: all of it, or only web or worker."
    requires_system_checks: list[str] = []  # they import every page: twice the start

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("process", nargs="?", choices=["web", "worker"])
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--queues", default="light,data,train")
        parser.add_argument("--concurrency", type=int, default=2)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["process"]:
            command = self._command(options)
            os.execv(command[0], command)  # noqa: S606 - our own command
        prepare(self.stdout)
        stop_on_sigterm()
        try:
            with Hub(port=options["port"], host=options["host"]) as hub:
                hub.wait_until_ready()
                self.stdout.write(f"PrivacyHub is at {hub.address}; logs in {LOGS}")
                hub.wait()
        except KeyboardInterrupt:
            self.stdout.write("stopped")

    def _command(self, options: dict[str, Any]) -> list[str]:
        if options["process"] == "web":
            return processes.web(address=f"{options['host']}:{options['port']}")
        return processes.worker(
            queues=options["queues"], concurrency=options["concurrency"]
        )
