"""The file that a benchmark writes under var/bench."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def case(
    name: str,
    *,
    value: float,
    unit: str,
    ratio: float | None = None,
    to: str | None = None,
    target: str = "",
    met: bool | None = None,
) -> dict[str, Any]:
    """One measured case; `ratio` is to the thing named in `to`."""
    return {
        "case": name,
        "value": value,
        "unit": unit,
        "ratio": ratio,
        "to": to,
        "target": target,
        "met": met,
    }


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "python": platform.python_version(),
        "commit": commit or None,
    }


def write(name: str, cases: list[dict[str, Any]]) -> Path:
    """Write var/bench/NAME.json and print it."""
    folder = ROOT / "var" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps({"machine": machine(), "cases": cases}, indent=2)
    path.write_text(text + "\n")
    print(text)
    return path
