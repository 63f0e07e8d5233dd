"""The states of a job and the steps between them.

queued -> running -> succeeded | failed | cancelled
queued -> cancelled | failed          (before a worker took it)
running -> queued                     (its worker was lost, or gave it back)
"""

from __future__ import annotations

from django.db import models


class State(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
OPEN = frozenset({State.QUEUED, State.RUNNING})


class Refusal(Exception):
    """What the rules of a domain do not allow, such as another state of things.

    `message` is written for the user and holds no data. A job that meets one fails as
    expected, with that message; it is no bug.
    """

    message: str
    code: str = "refused"


class JobFailed(Refusal):
    """An expected failure."""

    def __init__(self, message: str, *, code: str = "failed") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class JobCancelled(Exception):
    """The user asked the job to stop, and it does."""


class GivenBack(Exception):
    """The worker is to stop: the job stops here, and another worker goes on with it."""


class StaleAttempt(Exception):
    """Another attempt owns the job now: whatever this one holds is void."""


class TooManyJobs(Exception):
    """The user's limit of queued and running jobs is reached."""


class NotQueued(Exception):
    """The job has started or ended: it waits no more."""


class NotRepeatable(Exception):
    """The job cannot be run again as it was."""
