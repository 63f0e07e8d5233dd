"""The best anonymized form of a version is searched, measured and released."""

from __future__ import annotations

import time
from typing import Any

import polars as pl

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobCancelled, JobFailed
from privacyhub.anonymization import family, hierarchies, outcomes, policies, services
from privacyhub.datasets import tables as stored
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.engines import anonymize as an
from privacyhub.engines import tables

SEARCH_SECONDS = 600
"""After this the best solution so far is taken, and its gap is told."""
CHEAP_SECONDS = 5.0
"""A search that took longer is not repeated to answer what-if questions."""


def run(attempt: Attempt) -> Publish:
    """Spec: version, run, release (see `services.Release`), recipient."""
    plan = services.begin(job=attempt.job)
    attempt.report("reading the table")
    frame = stored.load(plan.version, columns=[tables.ROW_ID, *plan.columns])
    try:
        best, chosen, questions = _search(attempt, plan, frame)
    except an.AnonymizeCancelled as stopped:
        attempt.check()  # tells why
        raise JobCancelled from stopped
    except an.AnonymizeError as error:
        raise JobFailed(str(error), code="no_solution") from error
    except DataError as error:
        raise JobFailed(error.message, code=error.code) from error
    attempt.report("measuring the risk")
    outcome = outcomes.describe(best=best, chosen=chosen, questions=questions)
    seen = family.releases(plan.version)
    release = chosen.frame
    outcome["joint"] = family.joint_risk(
        earlier=seen, planned=release, columns=plan.quasi_identifiers
    )
    outcome["held"] = _is_held(plan, seen)
    if outcome["held"]:
        return _held(plan, outcome)
    attempt.report("encrypting")
    return _released(attempt, plan, outcome, release, seen)


def _search(
    attempt: Attempt, plan: services.Plan, frame: pl.DataFrame
) -> tuple[an.Result, an.Result, list[dict[str, Any]]]:
    """The optimum, the node that was asked for (or the optimum), and what-ifs."""
    attempt.report("building hierarchies")
    named = {
        column: hierarchies.of_column(
            hierarchy=entry["hierarchy"], values=frame[column], column=column
        )
        for column, entry in plan.policy["quasi_identifiers"].items()
    }
    began = time.monotonic()
    best = an.anonymize(
        frame,
        quasi_identifiers=named,
        models=policies.engine_models(plan.policy),
        suppression_limit=float(plan.policy["suppression_limit"]),
        metric=policies.engine_metric(plan.policy),
        progress=lambda done, total: attempt.report("searching", done, total),
        cancelled=attempt.cancelled,
        time_limit=SEARCH_SECONDS,
    )
    took = time.monotonic() - began
    chosen = best if plan.levels is None else best.apply(plan.levels)
    questions: list[dict[str, Any]] = []
    if took < CHEAP_SECONDS and chosen is best:
        attempt.report("asking what if")
        questions = outcomes.what_ifs(
            best, cancelled=attempt.cancelled, time_limit=CHEAP_SECONDS
        )
    return best, chosen, questions


def _is_held(plan: services.Plan, seen: list[Version]) -> bool:
    if plan.release == services.Release.NEVER:
        return True
    return plan.release == services.Release.IF_ALONE and bool(seen)


def _held(plan: services.Plan, outcome: dict[str, Any]) -> Publish:
    def publish() -> dict[str, Any]:
        services.record(plan=plan, outcome=outcome)
        return _result(plan, version=None)

    return publish


def _released(
    attempt: Attempt,
    plan: services.Plan,
    outcome: dict[str, Any],
    release: pl.DataFrame,
    seen: list[Version],
) -> Publish:
    written = stored.write_frame(release)
    try:
        attempt.report("profiling")
        table = release.to_arrow(compat_level=pl.CompatLevel.oldest())
        profile = tables.profile(table.to_batches(), schema=table.schema)
        attempt.report("publishing")
    except BaseException:
        stored.discard(written)
        raise

    def publish() -> dict[str, Any]:
        with stored.publishing(written):
            version = services.publish_release(
                plan=plan,
                written=written,
                profile=profile,
                outcome=outcome,
                seen=seen,
                job=attempt.job,
            )
        return _result(plan, version=version)

    return publish


def _result(plan: services.Plan, *, version: Version | None) -> dict[str, Any]:
    return {
        "run": str(plan.run.pk),
        "version": None if version is None else str(version.pk),
        "dataset": str(plan.version.dataset_id),
    }
