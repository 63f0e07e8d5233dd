"""Which function does a kind of job, and who wants to know when a job ends.

A domain submits by a kind's name; the worker's child finds the function by its
dotted path, so nothing here imports a domain, and no process imports TensorFlow
but the child that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from jobs.queues import Queue

if TYPE_CHECKING:
    from jobs.execution import Attempt
    from jobs.models import Job

Publish = Callable[[], dict[str, Any]]
"""Runs inside the transaction of the terminal state; returns the job's result."""
Run = Callable[["Attempt"], Publish]
Hook = Callable[["Job"], None]


@dataclass(frozen=True)
class Kind:
    """A kind of job: its function's dotted path and its queue."""

    name: str
    path: str
    queue: Queue

    @property
    def run(self) -> Run:
        return import_string(self.path)


_kinds: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("nothing", "jobs.tasks.nothing.run", Queue.LIGHT),
        Kind("ingest", "jobs.tasks.ingest.run", Queue.DATA),
        Kind("anonymize", "jobs.tasks.anonymize.run", Queue.DATA),
        Kind("train", "jobs.tasks.train.run", Queue.TRAIN),
        Kind("predict", "jobs.tasks.predict.run", Queue.DATA),
        Kind("assess", "jobs.tasks.assess.run", Queue.DATA),
        Kind("correct", "jobs.tasks.correct.run", Queue.DATA),
    )
}
_accepted_hooks: list[Hook] = []
_ended_hooks: list[Hook] = []


def kind(name: str) -> Kind:
    """The kind called `name`; KeyError where there is none."""
    return _kinds[name]


def when_accepted(hook: Hook) -> Hook:
    """Call `hook` in the transaction that accepts a job."""
    _accepted_hooks.append(hook)
    return hook


def when_ended(hook: Hook) -> Hook:
    """Call `hook` in the transaction that gives a job its terminal state."""
    _ended_hooks.append(hook)
    return hook


def run_accepted_hooks(job: Job) -> None:
    for hook in _accepted_hooks:
        hook(job)


def run_ended_hooks(job: Job) -> None:
    for hook in _ended_hooks:
        hook(job)
