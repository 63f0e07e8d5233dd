"""A job that does nothing, queued or running, for the tests of the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs import services
from jobs.models import Job


@pytest.fixture
def submit(steward: Any) -> Callable[..., Job]:
    def make(**more: Any) -> Job:
        given = {"kind": "nothing", "title": "Nothing", "owner": steward, "spec": {}}
        return services.submit(**{**given, **more})

    return make


@pytest.fixture
def running(submit: Callable[..., Job]) -> Job:
    """A job as the worker that claimed it holds it."""
    claimed = services.claim(job_id=submit().pk, worker="one")
    assert claimed is not None
    return claimed
