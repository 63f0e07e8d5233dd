"""The best anonymized form of a version is searched, measured and released."""

from __future__ import annotations

from typing import Any

import polars as pl

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobCancelled, JobFailed
from jobs.tasks.anonymize_search import search
from privacyhub.anonymization import (
    family,
    hierarchies,
    outcomes,
    policies,
    services,
    utility,
)
from privacyhub.datasets import tables as stored
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.engines import anonymize as an
from privacyhub.engines import tables
from privacyhub.training import services as training


def run(attempt: Attempt) -> Publish:
    """Spec: version, run, release (see `services.Release`), recipient."""
    with attempt.held():
        plan = services.begin(job=attempt.job)
    attempt.report("reading the table")
    frame = an.compact(
        stored.batches(plan.version, [tables.ROW_ID, *plan.loaded]),
        plain=list(plan.policy.get("treatments", {})),
    )
    try:
        found = search(attempt, plan, frame)
    except an.AnonymizeCancelled as stopped:
        attempt.check()  # tells why
        raise JobCancelled from stopped
    except an.AnonymizeError as error:
        raise JobFailed(str(error), code="no_solution") from error
    except DataError as error:
        raise JobFailed(error.message, code=error.code) from error
    attempt.report("measuring the risk")
    outcome = outcomes.describe(
        best=found.best, chosen=found.chosen, answers=found.answers
    )
    searched = services.searched_by(plan)
    if searched is not None and found.local is None:
        outcome |= outcomes.of_search(outcome, earlier=searched)
    release = found.release
    if found.local is not None:
        outcome |= outcomes.of_rounds(found.local, columns=plan.quasi_identifiers)
    outcome |= {
        "method": plan.method,
        "hierarchies": hierarchies.marks(plan.policy),
        "fixed": policies.is_dp(plan.policy),
        "score_unit": policies.score_unit(plan.policy),
        "utility": utility.describe(
            before=found.before,
            after=release,
            columns=plan.compared,
            features=plan.features,
            target=plan.policy.get("utility_target"),
        ),
    }
    seen = family.releases(plan.version)
    outcome["joint"] = family.joint_risk(
        earlier=seen, planned=release, columns=plan.quasi_identifiers
    )
    outcome["held"] = _is_held(plan, seen)
    if outcome["held"]:
        return _held(plan, outcome)
    attempt.report("encrypting")
    return _released(attempt, plan, outcome, release, seen)


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
        profile = tables.profile(
            stored.frame_batches(release), schema=stored.frame_schema(release)
        )
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
            training.give_release(after=plan.run, release=version)
        return _result(plan, version=version)

    return publish


def _result(plan: services.Plan, *, version: Version | None) -> dict[str, Any]:
    return {
        "run": str(plan.run.pk),
        "version": None if version is None else str(version.pk),
        "dataset": str(plan.version.dataset_id),
    }
