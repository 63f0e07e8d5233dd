"""What compose.yaml starts really starts: each command, in an environment of its own.

No container engine is needed: the file is parsed and each command runs as it stands,
with the variables, secrets and read-only places that the file names.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.conftest import REPOSITORY
from tests.faults.servers import free_port
from tests.functional.conftest import drop_database, own_database

HUB_SERVICES = ("migrate", "web", "worker")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (REPOSITORY / "docker" / "compose.yaml").read_text()
    return dict(yaml.safe_load(text))


@pytest.mark.parametrize("name", HUB_SERVICES)
def test_hub_services_are_locked_down(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    for variable, value in service["environment"].items():
        if "PASSWORD" in variable or "SECRET" in variable:
            assert variable.endswith("_FILE"), variable
            assert value.startswith("/run/secrets/")
            assert value.rsplit("/", 1)[1] in compose["secrets"]


def test_each_long_running_service_has_a_health_check(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name != "migrate":
            assert service["healthcheck"]["test"], name


def test_image_runs_as_another_user_than_root() -> None:
    lines = (REPOSITORY / "docker" / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["hub"]


def test_image_copies_what_is_there() -> None:
    lines = (REPOSITORY / "docker" / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ")]
    for name in (name for name in copied if not name.startswith("--")):
        assert (REPOSITORY / name).exists(), name


def _environment(
    compose: dict[str, Any], folder: Path, database: str
) -> dict[str, str]:
    """The service's variables, with this machine's services and folders in place."""
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    (secrets / "secret_key").write_text("k" * 64)
    (secrets / "database_password").write_text("")
    (secrets / "redis_password").write_text("")
    declared = compose["services"]["web"]["environment"]
    found = {
        name: value.replace("/run/secrets/", f"{secrets}/")
        for name, value in declared.items()
    }
    python = Path(sys.executable).parent
    return found | {
        "PATH": f"{python}:/usr/bin:/bin",
        "HOME": str(folder),
        "PRIVACYHUB_PRODUCTION": "true",
        "PRIVACYHUB_PROXY": "true",
        "PRIVACYHUB_HOSTS": "localhost",
        "PRIVACYHUB_VAR": str(folder / "var"),
        "PRIVACYHUB_KEY_FILE": str(folder / "keys" / "instance.json"),
        "PRIVACYHUB_AUDIT_HEADS": str(folder / "heads"),
        "DATABASE_URL": database,
        "REDIS_URL": os.environ["REDIS_URL"],
    }


@pytest.mark.service
def test_commands_of_compose_start_in_a_clean_environment(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    database = own_database(os.environ["DATABASE_URL"])
    environment = _environment(compose, tmp_path, database)
    port = free_port()
    started: list[subprocess.Popen[bytes]] = []
    try:
        migrate = subprocess.run(
            compose["services"]["migrate"]["command"], cwd=REPOSITORY, env=environment
        )
        assert migrate.returncode == 0
        for name in ("web", "worker"):
            command = [*compose["services"][name]["command"]]
            if name == "web":
                command += ["--port", str(port)]
            started.append(subprocess.Popen(command, cwd=REPOSITORY, env=environment))
        _wait_for(lambda: _answers(port))
        check = compose["services"]["worker"]["healthcheck"]["test"][1:]
        _wait_for(
            lambda: (
                subprocess.run(
                    check, cwd=REPOSITORY, env=environment, capture_output=True
                ).returncode
                == 0
            )
        )
        assert [process.poll() for process in started] == [None, None]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=30)
        drop_database(os.environ["DATABASE_URL"], database)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=2).ok
    except requests.RequestException:
        return False


def _wait_for(holds: Any, within: float = 120) -> None:
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, "it did not come up"
        time.sleep(0.5)


def test_health_checks_can_be_run_as_commands(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        test = service.get("healthcheck", {}).get("test", ["CMD", "true"])
        assert test[0] == "CMD"
        assert shlex.join(test[1:])
