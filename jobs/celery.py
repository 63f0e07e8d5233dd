"""Celery: how a message travels. It carries a job's id and queue, and nothing else.

Messages are acknowledged before the work, since the row and not the message says
what is to be done: a lost one is sent again by the reaper, a doubled one claims
nothing. Each worker starts a keeper beside itself, so no scheduler is needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import django
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_ready,
    worker_shutting_down,
)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "privacyhub.settings")
# The system checks import every page: without them a worker is back twice as soon.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
# A job's limit counts what is reserved, used or not: Arrow's own allocator reserves a
# gigabyte at once, and Polars' keeps what was freed, in an arena for each thread. A
# process that has loaded Polars hands its settings down: what comes last holds.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
_GIVE_BACK = "narenas:1,retain:false,dirty_decay_ms:0,muzzy_decay_ms:0"
_JEMALLOC = "_RJEM_MALLOC_CONF"
os.environ[_JEMALLOC] = ",".join(filter(None, [os.environ.get(_JEMALLOC), _GIVE_BACK]))
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from jobs import draining, execution, messages  # noqa: E402

logger = logging.getLogger(__name__)

KEEPER_PAUSE = 1.0  # seconds before the next, where one died
OOM_SCORE = "500"  # of 1000: before what has none
M_ARENA_MAX = -8  # malloc.h

app = messages.app


@app.task(name=messages.RUN)
def run(job_id: str, queue: str) -> None:
    try:
        if connection.vendor == "postgresql":  # where it may be cut off between jobs
            connection.close_if_unusable_or_obsolete()
        execution.execute_next(job_id=job_id, queue=queue)
    except Exception:  # Celery would write down the message, which may quote data
        logger.exception("a message was lost; the reaper sends another")
        connection.close()


@setup_logging.connect
def _logging_is_the_settings(**_: Any) -> None:
    """Connected, this keeps Celery from setting up handlers of its own."""


@worker_ready.connect
def _start_keeper(sender: Any, **_: Any) -> None:
    """A process and not a thread: the pool forks, and forks copy held locks."""
    name = f"{socket.gethostname()}:{os.getpid()}"
    queues = ",".join(sorted(queue.name for queue in sender.task_consumer.queues))
    command = [sys.executable, "-m", "jobs.keeper", name, queues]
    command.append(str(sender.pool.num_processes))
    threading.Thread(target=_keep_a_keeper, args=(command,), daemon=True).start()


def _keep_a_keeper(command: list[str]) -> None:
    """Start the keeper, and another where it died: nobody else speaks for this worker.

    The thread only waits; it holds no lock that a forked child could miss.
    """
    while not draining.is_asked():
        subprocess.run(command, stdin=subprocess.DEVNULL, check=False)  # noqa: S603 - our own words
        time.sleep(KEEPER_PAUSE)


@worker_shutting_down.connect
def _drain(**_: Any) -> None:
    draining.begin()


@worker_process_init.connect
def _prepare_child(**_: Any) -> None:
    """A child outlives a stop sent to the whole group, and is the kernel's first choice
    when memory runs out: not its parent, and no service beside it.

    It leaves its end to the parent. The pool puts a handler of its own in place of any
    but this one, and would give the parent a new child for each that ends by itself.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    if settings.JOB_MEMORY_BYTES:
        _few_arenas()
        limit = settings.JOB_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _few_arenas() -> None:
    """The C library would reserve an arena of its own for each thread."""
    with contextlib.suppress(OSError, AttributeError):  # another library than glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
