"""Run against a real worker in a process of its own; prints what happened as JSON.

`python -m tests.integration.jobs.queue_driver`: the environment names the hub.
"""

from __future__ import annotations

import json
import os
import signal
import time

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from jobs import services  # noqa: E402
from jobs.models import Job, Worker  # noqa: E402
from jobs.states import TERMINAL  # noqa: E402
from privacyhub.accounts.models import User  # noqa: E402

PATIENCE = 60


def main() -> None:
    call_command("migrate", verbosity=0)
    owner, _ = User.objects.get_or_create(username="steward", role="steward")
    told = {"nothing": _done(_submit(owner, 0))}

    lost = _submit(owner, 2)
    _until(lost, "running")
    child = int(lost.worker.rpartition(":")[2])
    os.kill(child, signal.SIGKILL)
    told["killed"] = {**_done(lost), "workers_lost": lost.workers_lost}

    cancelled = _submit(owner, 60)
    _until(cancelled, "running")
    services.request_cancel(job=cancelled, by=owner)
    told["cancelled"] = _done(cancelled)
    told["workers"] = Worker.objects.count()
    print(json.dumps(told))


def _submit(owner: User, seconds: float) -> Job:
    return services.submit(
        kind="nothing", title="Nothing", owner=owner, spec={"seconds": seconds}
    )


def _done(job: Job) -> dict[str, object]:
    _until(job, *TERMINAL)
    return {"state": job.state, "attempt": job.attempt}


def _until(job: Job, *states: str) -> None:
    patience = time.monotonic() + PATIENCE
    while job.state not in states:
        if time.monotonic() > patience:
            raise TimeoutError(f"the job is still {job.state}")
        time.sleep(0.05)
        job.refresh_from_db()


if __name__ == "__main__":
    main()
