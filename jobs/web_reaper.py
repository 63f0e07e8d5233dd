"""A thread in each web worker ends or puts back what lost its worker.

So a cancel is final soon even where no worker lives, nor its keeper. It wakes nobody:
a worker that lives has a keeper for that.

gunicorn reads this as its configuration (`--config=python:jobs.web_reaper`) before it
loads the pages, and calls the hook in each process that it has forked: its master, a
command and a test start no such thread.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, NoReturn

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "privacyhub.settings")
django.setup()

from django.conf import settings  # noqa: E402

from jobs import reaping  # noqa: E402


def post_worker_init(worker: Any) -> None:
    """Called by gunicorn in a worker that is about to serve.

    Nobody waits for a daemon: a stop in mid-round leaves a transaction that the
    database undoes, and the job to the next reaper.
    """
    threading.Thread(target=_reap_for_ever, name="reaper", daemon=True).start()


def _reap_for_ever() -> NoReturn:
    """The pages answer first: a round begins with its pause."""
    while True:
        time.sleep(settings.JOB_REAP_EVERY.total_seconds())
        with reaping.in_a_round(of="web's reaper"):
            reaping.reap_lost()
