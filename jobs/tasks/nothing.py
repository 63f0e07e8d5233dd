"""A job that does nothing, to measure the queue by."""

from __future__ import annotations

import time
from typing import Any

from jobs.execution import Attempt
from jobs.registry import Publish


def run(attempt: Attempt) -> Publish:
    """Wait for `seconds` of the spec (none by default), a tenth at a time."""
    until = time.monotonic() + float(attempt.spec.get("seconds", 0))
    while time.monotonic() < until:
        attempt.check()
        time.sleep(0.1)

    def publish() -> dict[str, Any]:
        return {}

    return publish
