"""No value of a table lies readable on a disk: after upload, training and a crash."""

from __future__ import annotations

import io
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from privacyhub.api.client import Client, JobEnded
from privacyhub.engines.tables import patient_register
from tests.functional.conftest import RunningHub

# Of this run alone: another one beside it plants its own where this one searches.
CANARY = f"Zanzibarkanarienvogel{secrets.token_hex(4)}"
BLOCK = 2**20


def _table() -> bytes:
    """A register in which each text column holds a canary in one row.

    One row, since a category that many share may be found by DP statistics, and then
    it is a release that was paid for.
    """
    frame = patient_register(rows=2_000, seed=5)
    row = pl.int_range(pl.len())
    frame = frame.with_columns(
        pl.when(row == 700 + place)
        .then(pl.lit(f"{CANARY}-{name}"))
        .otherwise(pl.col(name))
        .alias(name)
        for place, name in enumerate(("name", "email", "occupation", "diagnosis"))
    )
    buffer = io.BytesIO()
    frame.write_csv(buffer)
    return buffer.getvalue()


def _files(folder: Path, *, since: float) -> Iterator[Path]:
    for path in folder.rglob("*"):
        try:
            if path.is_file() and path.stat().st_mtime >= since:
                yield path
        except OSError:
            continue


def _holds(path: Path, needle: bytes) -> bool:
    try:
        with path.open("rb") as file:
            tail = b""
            while block := file.read(BLOCK):
                if needle in tail + block:
                    return True
                tail = block[-len(needle) :]
    except OSError:
        return False
    return False


def _running(steward: Client, job_id: str) -> dict[str, Any]:
    """The job once a worker's child has it and is past its start."""
    for _ in range(600):
        job = steward.get(f"jobs/{job_id}/")
        if job["state"] != "queued" and job["worker"]:
            return dict(job)
        time.sleep(0.05)
    raise AssertionError("no worker took the job")


def _ended(steward: Client, job_id: str) -> dict[str, Any]:
    try:
        return steward.wait(job_id, within=180)
    except JobEnded as ended:
        return ended.job


def test_canary_is_found_nowhere_after_upload_training_and_a_crash(
    hub: RunningHub,
) -> None:
    since = time.time() - 1
    steward = Client(hub.address, token=hub.tokens["steward"])
    accepted = steward.post(
        "datasets/",
        files={"file": ("canary.csv", _table())},
        data={"name": "Canary"},
    )
    version = steward.wait(accepted)["result"]["version"]
    steward.patch(f"versions/{version}/columns/", {"readmitted": {"is_target": True}})
    budget = {"declared_units": 2000, "epsilon_cap": "20", "delta_cap": "5e-5"}
    steward.put(f"versions/{version}/budget/", budget)
    recipe = {"version": version, "name": "Canary", "privacy": "dp", "epsilon": "2"}
    steward.wait(steward.post("trainings/", recipe))
    crashed = steward.post("trainings/", recipe)
    job = _running(steward, crashed["job"])
    if job["state"] == "running":
        os.kill(int(job["worker"].rsplit(":", 1)[1]), signal.SIGKILL)
    ended = _ended(steward, crashed["job"])
    assert ended["error_code"] in {"", "worker_lost", "poison"}
    needle = CANARY.encode()
    places = (hub.var, Path(tempfile.gettempdir()))
    found = {
        str(path)
        for folder in places
        for path in _files(folder, since=since)
        if _holds(path, needle)
    }
    assert found == set()


def test_the_search_would_find_a_canary(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.write_bytes(b"x" * (BLOCK - 5) + CANARY.encode())
    assert [path for path in _files(tmp_path, since=0) if _holds(path, CANARY.encode())]
