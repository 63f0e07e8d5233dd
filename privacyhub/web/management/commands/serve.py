"""`manage.py serve`: the whole hub on this machine, or one of its processes."""

from __future__ import annotations

import logging
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


# Seconds before a child that ended by itself is started again, one pause a death in a
# row; after the last the hub ends. One that ran for STEADY seconds begins a new row.
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STEADY = 120.0

logger = logging.getLogger(__name__)


class Child:
    """A process of the hub and its log."""

    def __init__(self, name: str, command: list[str]) -> None:
        self._name = name
        self._command = command
        self._deaths = 0
        self._again_at: float | None = None
        self.start()

    def start(self) -> None:
        self._began, self._again_at = time.monotonic(), None
        with (LOGS / f"{self._name}.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - ours
                self._command,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def require_alive(self) -> None:
        if self.process.poll() is not None:
            raise CommandError(
                f"The hub's {self._name} process ended by itself. "
                f"{LOGS / self._name}.log tells why."
            )

    def keep_alive(self) -> None:
        """Start it again once its pause is over. CommandError after too many deaths."""
        if self.process.poll() is None:
            return
        now = time.monotonic()
        if self._again_at is None:
            self._again_at = now + self._next_pause(ran=now - self._began)
        elif now >= self._again_at:
            self.start()

    def _next_pause(self, *, ran: float) -> float:
        if ran > STEADY:
            self._deaths = 0
        if self._deaths == len(PAUSES):
            self.require_alive()
        pause = PAUSES[self._deaths]
        self._deaths += 1
        logger.warning("%s ended; it is started again in %g s", self._name, pause)
        return pause


class Hub:
    """Web and worker as children; one that ends is started again."""

    def __init__(self, *, port: int, host: str = "127.0.0.1") -> None:
        self.address = f"http://{host}:{port}"
        self._commands = {
            "web": processes.web(address=f"{host}:{port}"),
            "worker": processes.worker(),
        }
        self._children: list[Child] = []

    def __enter__(self) -> Hub:
        LOGS.mkdir(parents=True, exist_ok=True)
        for name, command in self._commands.items():
            self._children.append(Child(name, command))
        return self

    def __exit__(self, *_: object) -> None:
        processes = [child.process for child in self._children]
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + GRACE
        for process in processes:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

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
        for child in self._children:
            child.require_alive()

    def keep_alive(self) -> None:
        for child in self._children:
            child.keep_alive()

    def wait(self) -> None:
        while True:
            self.keep_alive()
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
