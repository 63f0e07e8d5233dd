"""The folder of exported heads: one writer at a time, and what was written stays.

Contents are canonical JSON: a file of one statement is replaced whole, a file of many
grows by a line.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAITS = 2.0  # seconds, for a writer before this one
POLL = 0.01
_LOOKS = 10  # at a line without its end


def canonical(statement: Any) -> bytes:
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def lines(path: Path, *, most_bytes: int = 0) -> list[bytes]:
    """A file's lines; with `most_bytes` those at its end, the first perhaps cut."""
    try:
        with path.open("rb") as stream:
            if most_bytes:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - most_bytes))
            return stream.read().splitlines()
    except OSError:  # not there, or not to be reached: `verify` tells
        return []


def whole_lines(path: Path) -> list[bytes]:
    """A file's lines. One that is being written is waited for; one cut is given cut."""
    for _ in range(_LOOKS):
        try:
            content = path.read_bytes()
        except OSError:
            return []
        if not content or content.endswith(b"\n"):
            break
        time.sleep(POLL)
    return content.splitlines()


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """One writer at a time in this folder, over all processes of the machine.

    Raises TimeoutError, an OSError, where another keeps it for longer than a write
    takes: a process that is halted here must not halt all others. What is not exported
    now, the next line or a worker's keeper exports.
    """
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(place / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _take(lock)
        yield
    finally:
        os.close(lock)


def _take(lock: int) -> None:
    until = time.monotonic() + WAITS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(
                    "another process keeps the folder of heads"
                ) from None
            time.sleep(POLL)
        else:
            return


def append(path: Path, *contents: Any) -> None:
    """A line more for each; one that a crash had cut stays by itself."""
    with path.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.writelines(canonical(content) + b"\n" for content in contents)
        stream.flush()
        os.fsync(stream.fileno())


def replace(path: Path, content: Any) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as stream:
        stream.write(canonical(content))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def takes_a_file(place: Path) -> bool:
    """Whether something can be written there and reaches the disk; it does not stay."""
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=place) as stream:
            stream.write(b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        return False
    return True


def on_one_disk(one: Path, other: Path) -> bool:
    """Whether what takes the one takes the other too. A folder may yet be to come."""

    def disk(path: Path) -> int:
        there = next(place for place in (path, *path.parents) if place.exists())
        return there.stat().st_dev

    return disk(one.resolve()) == disk(other.resolve())
