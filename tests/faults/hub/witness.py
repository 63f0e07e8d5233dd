"""A file that tells what a job did, whatever the database says.

One line an event, `JOB ATTEMPT EVENT VALUE`, in one write to a file opened for append
and synced: a process that is killed leaves whole lines.
"""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings

from jobs.models import Job


def tell(job: Job, event: str, value: Any) -> None:
    line = f"{job.pk.hex} {job.attempt} {event} {value}\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC
    handle = os.open(settings.WITNESS_FILE, flags, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)
