"""Corrected labels of a feedback become rows of a child version."""

from __future__ import annotations

from typing import Any

import polars as pl

from jobs.execution import Attempt
from jobs.registry import Publish
from privacyhub.datasets import tables as stored
from privacyhub.engines import tables
from privacyhub.feedback import corrections

STEPS = 4


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, version (the parent), feedback."""
    with attempt.held():
        correction = corrections.begin(job=attempt.job)
    attempt.report("reading the table", 0, STEPS)
    frame = stored.load(correction.parent)
    attempt.report("adding the corrections", 1, STEPS)
    appended = corrections.append(correction, frame=frame)
    table = corrections.written(appended)
    try:
        attempt.report("profiling", 2, STEPS)
        plain = appended.frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        profile = tables.profile(plain.to_batches(), schema=plain.schema)
        attempt.report("publishing", 3, STEPS)
    except BaseException:
        stored.discard(table)
        raise

    def publish() -> dict[str, Any]:
        with stored.publishing(table):
            version = corrections.publish(
                correction=correction, appended=appended, table=table, profile=profile
            )
        return {
            "feedback": str(correction.feedback.pk),
            "version": str(version.pk),
            "dataset": str(version.dataset_id),
        }

    return publish
