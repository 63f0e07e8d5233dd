"""A canary from the file is nowhere on the disk in the clear."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from jobs.models import Job
from tests.integration.datasets.conftest import ROWS

CANARY = "Quetzalcoatl-98213"


def _holders(folder: Path) -> list[str]:
    """The files that hold the canary as it is."""
    needle = CANARY.encode()
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and needle in path.read_bytes():
                found.append(str(path))
        except OSError:
            continue  # another program's temporary file went away
    return found


def _rows_holding() -> list[str]:
    """The tables of the database that hold it, whatever the column."""
    needle = CANARY.encode()
    found = []
    with connection.cursor() as cursor:
        for name in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{name}"')  # noqa: S608
            for row in cursor.fetchall():
                for cell in row:
                    raw = bytes(cell) if isinstance(cell, memoryview | bytes) else b""
                    if needle in raw or CANARY in str(cell):
                        found.append(name)
    return found


@pytest.mark.parametrize("fails", [False, True])
def test_canary_is_found_nowhere(
    fails: bool,
    steward: Any,
    send: Any,
    run_jobs: Any,
    taken_in: Any,
    api_for: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = ROWS + f"{CANARY},33,yes\n".encode() * 3
    content += b"Filler,1,no\n" * 300_000  # larger than what is kept in memory
    if fails:

        def broken(*_: Any, **__: Any) -> None:
            raise ValueError("profiling broke")

        monkeypatch.setattr("jobs.tasks.ingest.tables.profile", broken)
    answer = send(steward, content)
    assert answer.status_code == 202
    run_jobs()
    job = Job.objects.get(pk=answer.json()["job"])
    assert job.state == ("failed" if fails else "succeeded")
    if not fails:
        version = job.result["version"]
        path = f"/api/v1/versions/{version}/preview/?offset=60&rows=3"
        assert CANARY in api_for(steward).get(path).content.decode()
    assert _holders(Path(settings.VAR_DIR)) == []
    assert _holders(tmp_path) == []
    assert _rows_holding() == []
