"""Users, clients and a small register for every test."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

_VAR = os.environ["PRIVACYHUB_TEST_VAR"]  # by tests.settings
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest  # noqa: E402

PASSWORD = "a long password 1"
REPOSITORY = Path(__file__).resolve().parent.parent


SERVICES = ("DATABASE_URL", "REDIS_URL")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Tests of PostgreSQL and Redis belong to the run that names both."""
    if all(os.environ.get(name) for name in SERVICES):
        return
    theirs = [item for item in items if item.get_closest_marker("service")]
    config.hook.pytest_deselected(items=theirs)
    items[:] = [item for item in items if item not in theirs]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """In CI nothing is skipped: a skip is a failure."""
    report = yield
    expected = hasattr(report, "wasxfail")
    if report.skipped and not expected and os.environ.get("CI") == "true":
        report.outcome = "failed"
    return report


def pytest_sessionfinish() -> None:
    shutil.rmtree(_VAR, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tables; missing it skips on a laptop and fails in CI."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("../shared/data is missing")
        pytest.skip("../shared/data is not on this machine")
    return folder


def _user(role: str, name: str) -> Any:
    from privacyhub.accounts.models import User

    return User.objects.create_user(
        username=name, password=PASSWORD, role=role, email=f"{name}@example.org"
    )


@pytest.fixture
def steward(db: None) -> Any:
    return _user("steward", "steward")


@pytest.fixture
def other_steward(db: None) -> Any:
    return _user("steward", "other")


@pytest.fixture
def analyst(db: None) -> Any:
    return _user("analyst", "analyst")


@pytest.fixture
def auditor(db: None) -> Any:
    return _user("auditor", "auditor")


@pytest.fixture
def admin(db: None) -> Any:
    return _user("admin", "admin")


@pytest.fixture
def client_for() -> Callable[[Any], Any]:
    from django.test import Client

    def make(user: Any) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def api_for() -> Callable[[Any], Any]:
    from rest_framework.test import APIClient

    from privacyhub.accounts import tokens

    def make(user: Any, scope: str = "write") -> APIClient:
        client = APIClient()
        _, token = tokens.create(user=user, name="test", scope=scope)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return client

    return make


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Messages go nowhere in unit and integration tests: `run_jobs` does the work."""
    if request.node.get_closest_marker("service"):
        return
    monkeypatch.setattr("jobs.messages.send", lambda **_: True)


@pytest.fixture(autouse=True)
def _no_heartbeat(settings: Any) -> None:
    """Its thread sees no row that the test's transaction holds: the job would be stale,
    and one that does not stop then is ended with its process, which is the tests' own.
    """
    settings.JOB_HEARTBEAT = timedelta(hours=1)


@pytest.fixture
def run_jobs(db: None) -> Callable[[], None]:
    """Do every queued job in this process, in order, until none is left."""
    from jobs import execution
    from jobs.models import Job

    def run() -> None:
        while True:
            waiting = Job.objects.claimable().order_by("created_at").first()
            if waiting is None:
                return
            execution.execute(str(waiting.pk))

    return run


@pytest.fixture
def upload_file(settings: Any) -> Callable[..., Any]:
    """A SealedUpload of some bytes, as the upload handler makes it."""
    from privacyhub.datasets.uploads import SealingUploadHandler

    def make(content: bytes, name: str = "table.csv") -> Any:
        handler = SealingUploadHandler()
        handler.new_file("file", name, "text/csv", len(content), None, None)
        for start in range(0, len(content), handler.chunk_size):
            handler.receive_data_chunk(
                content[start : start + handler.chunk_size], start
            )
        return handler.file_complete(len(content))

    return make


@pytest.fixture
def register_version(
    steward: Any, upload_file: Callable[..., Any], run_jobs: Callable[[], None]
) -> Any:
    """A register of 600 rows, taken in by the real job, with target and budget."""
    from privacyhub.datasets import intake, services
    from privacyhub.datasets.models import Version
    from privacyhub.engines.tables import patient_register

    buffer = io.BytesIO()
    patient_register(rows=600).write_csv(buffer)
    upload = intake.receive(file=upload_file(buffer.getvalue()), by=steward)
    job = intake.submit(upload=upload, by=steward, name="Register")
    run_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded", job.trace or job.message
    version = Version.objects.get(pk=job.result["version"])
    services.set_columns(
        version=version, changes={"readmitted": {"is_target": True}}, by=steward
    )
    services.declare_budget(
        version=version,
        by=steward,
        declared_units=600,
        epsilon_cap="8",
        delta_cap="1e-5",
    )
    return version
