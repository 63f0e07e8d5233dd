"""Tables on their way in over REST, and a version that may leave."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile

from jobs import services as jobs
from jobs.models import Job
from privacyhub.datasets import intake, tables
from privacyhub.datasets.models import Version, VersionKind
from privacyhub.engines.tables import profile

ROWS = b"name,age,sick\n" + b"".join(
    b"Person %d,%d,%s\n" % (n, 20 + n % 50, b"yes" if n % 3 else b"no")
    for n in range(60)
)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Callable[[], set[Path]]:
    """The files in the encrypted store at this moment.

    A test runs inside a transaction that never commits: what waits for the commit is
    done at once here.
    """
    monkeypatch.setattr("django.db.transaction.on_commit", lambda done, **_: done())
    folder = Path(settings.VAR_DIR) / "store"
    return lambda: {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def send(api_for: Callable[..., Any]) -> Callable[..., Any]:
    """POST a file to /datasets/ through the real upload handler."""

    def post(user: Any, content: bytes, name: str = "t.csv", **fields: Any) -> Any:
        file = SimpleUploadedFile(name, content)
        path = fields.pop("path", "/api/v1/datasets/")
        return api_for(user).post(path, {"file": file, **fields}, format="multipart")

    return post


@pytest.fixture
def taken_in(
    send: Callable[..., Any], run_jobs: Callable[[], None]
) -> Callable[..., Version]:
    """The version that an upload becomes."""

    def take(user: Any, content: bytes = ROWS, name: str = "t.csv", **f: Any) -> Any:
        answer = send(user, content, name, **f)
        assert answer.status_code == 202, answer.content
        run_jobs()
        job = Job.objects.get(pk=answer.json()["job"])
        assert job.state == "succeeded", job.message or job.trace
        return Version.objects.get(pk=job.result["version"])

    return take


@pytest.fixture
def anonymized(taken_in: Callable[..., Version], steward: Any) -> Version:
    """An anonymized version of a small table, written as an anonymization job does."""
    source = taken_in(steward)
    frame = tables.load(source).drop("name").with_columns(age=pl.lit("20-70"))
    job = jobs.submit(kind="nothing", title="anonymize", owner=steward, spec={})
    written = tables.write_frame(frame)
    arrow = frame.to_arrow()
    version = intake.publish_version(
        dataset=source.dataset,
        kind=VersionKind.ANONYMIZED,
        written=written,
        profile=profile(arrow.to_batches(), schema=arrow.schema),
        by=steward,
        job=job,
        ledgers=list(source.ledgers.all()),
        parents=[source],
    )
    intake.copy_columns(
        source=source, to=version, kinds={"age": "text", "sick": "text"}
    )
    return version


@pytest.fixture
def parquet() -> Callable[[bytes], bytes]:
    """The same rows as a CSV file, as Parquet."""

    def convert(content: bytes) -> bytes:
        buffer = io.BytesIO()
        pl.read_csv(io.BytesIO(content)).write_parquet(buffer)
        return buffer.getvalue()

    return convert
