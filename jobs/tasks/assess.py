"""Metrics of a model on its held-out units: exact for stewards, noised for others."""

from __future__ import annotations

from typing import Any

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.tasks import assessing
from jobs.tasks.assessing import STEPS, Subject
from privacyhub.assessment import evaluation
from privacyhub.assessment.saved import Found


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, run (whose model is assessed), epsilon, event."""
    subject = assessing.subject_of(attempt)
    epsilon = attempt.spec["epsilon"]
    found = assessing.found_before(attempt, subject) or _found(attempt, subject)
    attempt.report("publishing", 2, STEPS, epsilon=epsilon)

    def publish() -> dict[str, Any]:
        made = evaluation.record(
            model_version=subject.model_version,
            job=attempt.job,
            exact=found.exact,
            released=found.released,
            epsilon=epsilon,
        )
        return {
            "model_version": str(subject.model_version.pk),
            "assessment": str(made.pk),
        }

    return publish


def _found(attempt: Attempt, subject: Subject) -> Found:
    event = assessing.event_of(attempt)
    held_out = assessing.read(
        attempt, subject, purpose="exact metrics", event=event, note="score histogram"
    )
    exact = evaluation.exact(model=held_out.model, scored=held_out.scored)

    def draw() -> Found:
        released = evaluation.released(
            model=held_out.model,
            scored=held_out.scored,
            event=event,
            most_rows=held_out.most_rows,
        )
        return Found(exact=exact, released=released)

    return assessing.kept(attempt, subject, draw=draw)
