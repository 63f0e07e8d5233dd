"""Where encrypted files lie: a folder today, behind names and not paths.

A file's name is a random id; nothing of its content or origin shows in it.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings

from privacyhub.engines.tables import Writing

_FOLDERS = ("uploads", "tables", "models", "results")


def new_name(folder: str, suffix: str) -> str:
    """A fresh name such as `tables/0b6f….parquet`."""
    if folder not in _FOLDERS:
        raise ValueError(f"no folder {folder}")
    return f"{folder}/{uuid.uuid4().hex}.{suffix}"


def path_of(name: str) -> Path:
    """The file's place on this machine; its folder exists afterwards."""
    path = Path(settings.VAR_DIR) / "store" / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def writing(name: str) -> Writing:
    """Write a new file: it is there whole and durable afterwards, or not at all."""
    return Writing(path_of(name))


def remove(name: str) -> None:
    """Delete the file if it is there. Its key is what erasure relies on."""
    path_of(name).unlink(missing_ok=True)
