"""What the hub's processes write down: one line an event, never a cell value.

Each line of a request or a job carries its id. An exception is told by its type and
the places it passed, without its message: messages of parsers and databases quote what
they read. The trace of a job that broke is on the job, for staff.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_request: ContextVar[str] = ContextVar("request", default="")
_job: ContextVar[str] = ContextVar("job", default="")

Failure = (
    tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
)


def request_id() -> str:
    """The id of the request at work, or of the one that asked for the job; or ""."""
    return _request.get()


def accepted_request_id(offered: str) -> str:
    """An id that a client or a proxy offers, where it is one; else a fresh one."""
    return offered if _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex


@contextmanager
def of(*, request: str = "", job: str = "") -> Iterator[None]:
    """Lines written inside carry these ids."""
    tokens = _request.set(request), _job.set(job)
    try:
        yield
    finally:
        _request.reset(tokens[0])
        _job.reset(tokens[1])


class _WithoutValues(logging.Formatter):
    def formatException(self, failure: Failure) -> str:  # noqa: N802 - logging's name
        return told(failure[1])

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        return ""


class TextLines(_WithoutValues):
    """For a person: time, level, logger, message, ids."""

    def format(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name}={value}" for name, value in _ids().items())
        line = super().format(record)
        return f"{line} [{ids}]" if ids else line


class JsonLines(_WithoutValues):
    """For a machine: one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, tz=UTC)
        line: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_ids(),
            **getattr(record, "told", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = type(record.exc_info[1]).__name__
            line["trace"] = told(record.exc_info[1])
        return json.dumps(line, default=str)


def told(error: BaseException | None) -> str:
    """Types and places of an exception and of what caused it, without any message."""
    lines: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        lines.append(f"{type(error).__name__}:")
        lines += [
            f"  {frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(error.__traceback__)
        ]
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def _ids() -> dict[str, str]:
    found = {"request": _request.get(), "job": _job.get()}
    return {name: value for name, value in found.items() if value}
