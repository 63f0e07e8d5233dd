"""Celery: how a message travels. It carries a job's id and nothing else.

Messages are acknowledged before the work, since the row and not the message says
what is to be done: a lost one is sent again by the reaper, a doubled one claims
nothing.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import django
from celery.signals import worker_ready, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "privacyhub.settings")
django.setup()

from django.db import connection  # noqa: E402

from jobs import execution, messages, services  # noqa: E402
from jobs.models import Worker  # noqa: E402
from jobs.queues import HEARTBEAT, REAP_EVERY, Queue  # noqa: E402

app = messages.app
app.conf.beat_schedule = {
    "reap": {"task": "jobs.reap", "schedule": REAP_EVERY, "options": {"expires": 25}}
}


@app.task(name=messages.RUN)
def run(job_id: str) -> None:
    execution.execute(job_id)


@app.task(name="jobs.reap")
def reap() -> None:
    services.reap()


_stopping = threading.Event()


@worker_ready.connect
def _say_that_it_lives(sender: Any, **_: Any) -> None:
    name = f"{socket.gethostname()}:{os.getpid()}"
    queues = ",".join(sorted(str(queue) for queue in Queue))

    def repeat() -> None:
        while True:
            Worker.objects.update_or_create(name=name, defaults={"queues": queues})
            connection.close()
            if _stopping.wait(HEARTBEAT.total_seconds()):
                return

    threading.Thread(target=repeat, daemon=True).start()


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    _stopping.set()
