"""The process beside each worker: says that the worker lives, and reaps lost jobs.

Every worker's keeper reaps, and each web worker does: the conditional writes of
`reaping` make that harmless. It ends when its worker does:
`python -m jobs.keeper NAME QUEUES CHILDREN`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from functools import partial

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "privacyhub.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import Error  # noqa: E402

from jobs import reaping, registry, workers  # noqa: E402

TIDY_EVERY = 3600.0  # seconds


def main(name: str, queues: str, children: int) -> None:
    """Beat and reap until the parent process is gone."""
    # A stop may reach the whole group; the worker may still have jobs to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # From the name: a worker that ended while we started has another as our parent.
    parent = int(name.rpartition(":")[2])
    say = partial(
        workers.say_that_it_lives, name=name, queues=queues, children=children
    )
    tidied = -TIDY_EVERY
    while os.getppid() == parent:
        with reaping.in_a_round(of="keeper"):
            say()
            reaping.reap()
            say()  # a round may take long
            if time.monotonic() - tidied >= TIDY_EVERY:
                tidied = time.monotonic()
                registry.run_tidying_hooks()
        _wait(parent)
    with contextlib.suppress(Error):
        workers.say_goodbye(name=name)


def _wait(parent: int) -> None:
    until = time.monotonic() + settings.JOB_REAP_EVERY.total_seconds()
    while time.monotonic() < until and os.getppid() == parent:
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
