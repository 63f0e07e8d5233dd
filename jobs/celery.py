"""Celery: how a message travels. It carries a job's id and nothing else.

Messages are acknowledged before the work, since the row and not the message says
what is to be done: a lost one is sent again by the reaper, a doubled one claims
nothing. Each worker starts a keeper beside itself, so no scheduler is needed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import django
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "privacyhub.settings")
django.setup()

from jobs import execution, messages  # noqa: E402

app = messages.app


@app.task(name=messages.RUN)
def run(job_id: str) -> None:
    execution.execute(job_id)


@worker_ready.connect
def _start_keeper(sender: Any, **_: Any) -> None:
    """A process and not a thread: the pool forks, and forks copy held locks."""
    name = f"{socket.gethostname()}:{os.getpid()}"
    queues = ",".join(sorted(queue.name for queue in sender.task_consumer.queues))
    command = [sys.executable, "-m", "jobs.keeper", name, queues]
    subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own words
