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
CancelHook = Callable[["Job", Any], None]


@dataclass(frozen=True)
class Kind:
    """A kind of job: its function's dotted path and its queue.

    `again_path` is the service that starts a job of this kind once more; without one
    `anew` tells its owner what to do instead.
    """

    name: str
    path: str
    queue: Queue
    again_path: str = ""
    anew: str = "Start a new one."

    @property
    def run(self) -> Run:
        return import_string(self.path)

    @property
    def again(self) -> Callable[..., Job] | None:
        """`again(job=, by=) -> Job`, or None where a new start is the way."""
        return import_string(self.again_path) if self.again_path else None


_UPLOAD = "Its file is forgotten: upload it again."

_kinds: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "nothing",
            "jobs.tasks.nothing.run",
            Queue.LIGHT,
            again_path="jobs.services.submit_alike",
        ),
        Kind("ingest", "jobs.tasks.ingest.run", Queue.DATA, anew=_UPLOAD),
        Kind(
            "anonymize",
            "jobs.tasks.anonymize.run",
            Queue.DATA,
            again_path="privacyhub.anonymization.services.again",
        ),
        Kind(
            "risk_report",
            "jobs.tasks.risk_report.run",
            Queue.DATA,
            again_path="privacyhub.anonymization.risk_report_runs.again",
        ),
        Kind(
            "train",
            "jobs.tasks.train.run",
            Queue.TRAIN,
            again_path="privacyhub.training.services.again",
        ),
        Kind(
            "export",
            "jobs.tasks.export.run",
            Queue.DATA,
            again_path="privacyhub.training.exports.again",
        ),
        Kind("predict", "jobs.tasks.predict.run", Queue.DATA, anew=_UPLOAD),
        Kind(
            "assess",
            "jobs.tasks.assess.run",
            Queue.DATA,
            again_path="privacyhub.assessment.evaluation.again",
        ),
        Kind(
            "assess_groups",
            "jobs.tasks.assess_groups.run",
            Queue.DATA,
            again_path="privacyhub.assessment.group_evaluation.again",
        ),
        Kind(
            "correct",
            "jobs.tasks.correct.run",
            Queue.DATA,
            again_path="privacyhub.feedback.services.again",
        ),
    )
}
_accepted_hooks: list[Hook] = []
_starting_hooks: list[Hook] = []
_finishing_hooks: list[Hook] = []
_cancel_hooks: list[CancelHook] = []
_ended_hooks: list[Hook] = []
_tidying_hooks: list[Callable[[], Any]] = []


def kinds() -> tuple[str, ...]:
    """The names of all kinds."""
    return tuple(_kinds)


def kind(name: str) -> Kind:
    """The kind called `name`; KeyError where there is none."""
    return _kinds[name]


def register(kind: Kind) -> Kind:
    """Add a kind of an installed app's own; ValueError where the name is taken."""
    if _kinds.setdefault(kind.name, kind) != kind:
        raise ValueError(f"there is another kind {kind.name}")
    return kind


def when_accepted(hook: Hook) -> Hook:
    """Call `hook` in the transaction that accepts a job."""
    _accepted_hooks.append(hook)
    return hook


def when_starting(hook: Hook) -> Hook:
    """Call `hook` before a claimed job does anything; it may raise JobFailed."""
    _starting_hooks.append(hook)
    return hook


def when_finishing(hook: Hook) -> Hook:
    """Call `hook` in the transaction that publishes, before it does."""
    _finishing_hooks.append(hook)
    return hook


def when_cancel_asked(hook: CancelHook) -> CancelHook:
    """Call `hook(job, by)` in the transaction that asks a job to stop."""
    _cancel_hooks.append(hook)
    return hook


def when_ended(hook: Hook) -> Hook:
    """Call `hook` in the transaction that gives a job its terminal state."""
    _ended_hooks.append(hook)
    return hook


def when_tidying(hook: Callable[[], Any]) -> Callable[[], Any]:
    """Call `hook` in a worker's keeper when it starts, and once an hour."""
    _tidying_hooks.append(hook)
    return hook


def run_tidying_hooks() -> None:
    for hook in _tidying_hooks:
        hook()


def run_accepted_hooks(job: Job) -> None:
    for hook in _accepted_hooks:
        hook(job)


def run_starting_hooks(job: Job) -> None:
    for hook in _starting_hooks:
        hook(job)


def run_finishing_hooks(job: Job) -> None:
    for hook in _finishing_hooks:
        hook(job)


def run_cancel_hooks(job: Job, by: Any) -> None:
    for hook in _cancel_hooks:
        hook(job, by)


def run_ended_hooks(job: Job) -> None:
    for hook in _ended_hooks:
        hook(job)
