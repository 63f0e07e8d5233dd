"""A running hub for the whole session, and a browser that minds the console."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import REPOSITORY
from tests.faults.servers import free_port

ROLES = ("steward", "analyst", "auditor", "admin")
STARTS_WITHIN = 90.0
expect.set_options(timeout=30_000)  # ms; a page may take long where lanes share cores
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class RunningHub:
    """Where it answers, and who may sign in."""

    address: str
    var: Path
    passwords: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)


def manage(environment: dict[str, str], *arguments: str) -> str:
    """A management command in a process of its own; its output."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def own_database(url: str) -> str:
    """A database for this session beside the one that the URL names."""
    name = f"privacyhub_functional_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def drop_database(url: str, own: str) -> None:
    name = urlsplit(own).path.lstrip("/")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """The hub as `make run` starts it, on a port, folder and database of its own."""
    var = tmp_path_factory.mktemp("hub")
    environment = {**os.environ, "PRIVACYHUB_VAR": str(var)}
    environment["DJANGO_SETTINGS_MODULE"] = "privacyhub.settings"
    environment["PRIVACYHUB_JOB_LEASE"] = "20"  # a lost worker is noticed soon
    url = os.environ.get("DATABASE_URL", "")
    if url:
        environment["DATABASE_URL"] = own_database(url)
    manage(environment, "migrate", "--verbosity=0")
    port = free_port()
    running = RunningHub(address=f"http://127.0.0.1:{port}", var=var)
    for role in ROLES:
        password = secrets.token_urlsafe(12)
        manage(
            environment, "add_user", role, f"--role={role}", f"--password={password}"
        )
        running.passwords[role] = password
        running.tokens[role] = manage(environment, "add_token", role).strip()
    server = subprocess.Popen(
        [sys.executable, "manage.py", "serve", f"--port={port}"],
        cwd=REPOSITORY,
        env=environment,
    )
    try:
        _wait_until_ready(running.address, server)
        yield running
    finally:
        server.terminate()
        server.wait(timeout=40)
        if url:
            drop_database(url, environment["DATABASE_URL"])


def _wait_until_ready(address: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        assert server.poll() is None, "the hub ended by itself"
        try:
            if requests.get(f"{address}/readyz", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.3)
    pytest.fail("the hub did not become ready")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; missing, it skips on a laptop and fails in CI."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def without_aborts(complaints: list[str]) -> list[str]:
    """Without htmx telling, in two lines, that it gave a request up.

    It gives one up when a newer one replaces it and when its page is left; nothing is
    wrong then. An "afterRequest" of any other origin, such as no network, is kept.
    """
    kept: list[str] = []
    for complaint in complaints:
        if "htmx:sendAbort" not in complaint:
            kept.append(complaint)
        elif kept and "htmx:afterRequest" in kept[-1]:
            kept.pop()
    return kept


@pytest.fixture
def sign_in(hub: RunningHub, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Pages of signed-in users. Any console error or CSP violation fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def make(role: str, **options: Any) -> Page:
        context = browser.new_context(base_url=hub.address, **options)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: (
                complaints.append(f"{page.url}: {message.text}")
                if message.type in {"error", "warning"}
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.goto("/login/")
        page.get_by_label("Username").fill(role)
        page.get_by_label("Password", exact=True).fill(hub.passwords[role])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{hub.address}/")
        return page

    yield make
    for context in contexts:
        context.close()
    assert not (found := without_aborts(complaints)), "\n".join(found)
