"""Typed reading of environment variables: a wrong value stops the start, loudly."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit


class SettingError(RuntimeError):
    """A variable has a value that cannot be used; the message names it."""


def text(name: str, default: str = "") -> str:
    """The variable, or the content of the file that `NAME_FILE` names."""
    file = os.environ.get(f"{name}_FILE")
    if file:
        return Path(file).read_text().strip()
    return os.environ.get(name, default)


def boolean(name: str, *, default: bool = False) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise SettingError(f"{name} must be true or false")


def integer(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        return int(value)
    except ValueError as error:
        raise SettingError(f"{name} must be a whole number") from error


def one_of(name: str, default: str, *others: str) -> str:
    """One of the listed words."""
    value = os.environ.get(name, "").strip().lower() or default
    if value not in {default, *others}:
        raise SettingError(f"{name} must be one of {', '.join((default, *others))}")
    return value


def items(name: str, default: str = "") -> list[str]:
    """A comma-separated list, without blanks."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def require(*names: str) -> None:
    """Stop the start when a variable is missing."""
    for name in names:
        if not text(name):
            raise SettingError(f"{name} must be set in production")


def refuse(*names: str) -> None:
    """Stop the start when a variable is there that only tests may set."""
    for name in names:
        if text(name):
            raise SettingError(f"{name} must not be set in production")


def secret(name: str, *, file: Path, required: bool) -> str:
    """A secret from the environment, else one that is made once and kept in `file`.

    With `required` (production) nothing is made up: the variable must be set.
    """
    value = text(name)
    if value:
        return value
    if required:
        raise SettingError(f"{name} or {name}_FILE must be set in production")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return file.read_text().strip()
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_urlsafe(48))
    return file.read_text().strip()


def broker(name: str, *, password_name: str) -> str:
    """A Redis URL, or "" without one; the password may come from a variable or file."""
    url = text(name)
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"}:
        raise SettingError(f"{name} must begin with redis:// or rediss://")
    password = text(password_name)
    if not password or parts.password:
        return url
    netloc = f"{parts.username or ''}:{quote(password, safe='')}@{parts.netloc}"
    return parts._replace(netloc=netloc).geturl()


def database(name: str, *, default_file: Path, password_name: str) -> dict[str, Any]:
    """Django's database settings from a URL; SQLite in `default_file` without one."""
    url = text(name)
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": default_file,
            "OPTIONS": {
                # Immediate transactions take the write lock first, so two writers
                # queue for `timeout` seconds instead of failing on an upgrade.
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                # A charge must be on the disk before the step it pays for: FULL.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise SettingError(f"{name} must begin with postgresql://")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or "") or text(password_name),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": {
            "connect_timeout": "10",
            # A process that is halted inside a transaction holds its locks no longer.
            "options": "-c idle_in_transaction_session_timeout=30s",
            **dict(parse_qsl(parts.query)),
        },
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
