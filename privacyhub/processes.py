"""The hub's processes: one place says how each is started.

`make run` starts them all on one machine; a container runs one of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_BIN = Path(sys.executable).parent


def web(*, address: str, workers: int = 2, threads: int = 8) -> list[str]:
    """The pages and the REST API, and a reaper in each worker.

    Uploads may take long: threads wait, not workers.
    """
    return [
        str(_BIN / "gunicorn"),
        "privacyhub.wsgi:application",
        "--config=python:jobs.web_reaper",
        f"--bind={address}",
        f"--workers={workers}",
        f"--threads={threads}",
        "--preload",  # imported once, then forked
        "--timeout=120",
        "--graceful-timeout=20",
        "--max-requests=10000",
        "--max-requests-jitter=1000",
        "--log-level=warning",
        "--worker-tmp-dir=/dev/shm",  # noqa: S108 - a heartbeat file, holds nothing
    ]


def worker(*, queues: str = "light,data,train", concurrency: int = 2) -> list[str]:
    """A worker with its keeper; only its children import TensorFlow."""
    return [
        str(_BIN / "celery"),
        "--app=jobs.celery",
        "worker",
        f"--queues={queues}",
        f"--concurrency={concurrency}",
        f"--hostname=worker-{os.getpid()}@%h",
        "--loglevel=WARNING",
        "--without-gossip",
        "--without-mingle",
    ]
