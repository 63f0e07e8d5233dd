"""Scripts that play a hub in a process of its own, and what they saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]


def play(script: str, var: Path, *, url: str = "") -> dict[str, Any]:
    """Run a script of this folder on a hub of its own, in `var` or at a database."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PRIVACYHUB_VAR": str(var),
        "PRIVACYHUB_TEST_VAR": str(var),
        "DATABASE_URL": url,
        "REDIS_URL": "",
    }
    ran = subprocess.run(
        [sys.executable, "-m", f"tests.integration.governance.{script}", str(var)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told
