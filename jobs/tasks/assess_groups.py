"""A model's error by declared group: exact for stewards, noised for others."""

from __future__ import annotations

from typing import Any

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.tasks import assessing
from jobs.tasks.assessing import STEPS, Subject
from privacyhub.assessment import group_evaluation
from privacyhub.assessment.saved import Found


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, run (whose model is assessed), column, groups, epsilon, event."""
    subject = assessing.subject_of(attempt)
    found = assessing.found_before(attempt, subject) or _found(attempt, subject)
    attempt.report("publishing", 2, STEPS, epsilon=attempt.spec["epsilon"] or None)

    def publish() -> dict[str, Any]:
        made = group_evaluation.record(
            model_version=subject.model_version,
            job=attempt.job,
            exact=found.exact,
            released=found.released,
        )
        return {
            "model_version": str(subject.model_version.pk),
            "group_assessment": str(made.pk),
        }

    return publish


def _found(attempt: Attempt, subject: Subject) -> Found:
    """Without an event nothing is paid and nothing is released."""
    spec = attempt.spec
    event = assessing.event_of(attempt) if spec["event"] else None
    held_out = assessing.read(
        attempt,
        subject,
        purpose="exact error by group",
        event=event,
        note="histogram of outcomes by group",
        columns=[spec["column"]],
    )
    outcomes = group_evaluation.outcomes_of(
        model=held_out.model,
        scored=held_out.scored,
        values=held_out.side.frame[spec["column"]],
        groups=tuple(spec["groups"]),
    )
    exact = group_evaluation.exact(outcomes)
    if event is None:
        return Found(exact=exact, released=[])

    def draw() -> Found:
        released = group_evaluation.released(
            outcomes=outcomes, event=event, most_rows=held_out.most_rows
        )
        return Found(exact=exact, released=released)

    return assessing.kept(attempt, subject, draw=draw)
