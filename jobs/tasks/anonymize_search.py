"""The search of an anonymization run: its inputs, its method, its what-if questions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from jobs.execution import Attempt
from privacyhub.anonymization import (
    hierarchies,
    inputs,
    outcomes,
    policies,
    questions,
    services,
    treatments,
)
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.hierarchies import as_text
from privacyhub.engines.tables import ROW_ID

MOST_STEPS = 1_000_000
"""A lattice may have more nodes than a job's progress can count."""
CHEAP_SECONDS = 5.0
"""A search that took longer is not repeated to answer what-if questions."""


@dataclass(frozen=True)
class Found:
    """The optimum, the node that is taken, and the release that it makes.

    `before`: the rows of the release as they came. `local`: where it was recoded round
    by round, the rounds.
    """

    best: an.Result
    chosen: an.Result
    release: pl.DataFrame = field(repr=False)
    before: pl.DataFrame = field(repr=False)
    answers: list[dict[str, Any]]
    local: an.LocalResult | None = None


def search(attempt: Attempt, plan: services.Plan, frame: pl.DataFrame) -> Found:
    """Search the table's best form under the plan's policy."""
    attempt.report("building hierarchies")
    treated = treatments.applied(frame, policy=plan.policy, owner=plan.run.owner)
    needs = inputs.load(
        treated,
        policy=plan.policy,
        columns=plan.quasi_identifiers,
        owner=plan.run.owner,
    )
    asked: dict[str, Any] = {
        "quasi_identifiers": _hierarchies(plan, treated, needs),
        "models": policies.engine_models(plan.policy, inputs=needs),
        "suppression_limit": _limit(plan),
        "metric": policies.engine_metric(plan.policy),
        "aggregates": policies.aggregates(plan.policy),
    }
    if plan.method != policies.FULL_DOMAIN:
        return _local(attempt, plan, frame, treated, asked)
    began = time.monotonic()
    if plan.levels is None:
        best = an.anonymize(
            treated,
            **asked,
            progress=_progress(attempt, "searching"),
            cancelled=attempt.cancelled,
            time_limit=policies.time_limit(plan.policy),
        )
    else:  # the run that it comes from has searched
        best = an.transform(treated, levels=plan.levels, **asked)
    took = time.monotonic() - began
    chosen = best
    release, before = _of_subset(chosen, chosen.frame, frame)
    return Found(
        best=best,
        chosen=chosen,
        release=release.select([ROW_ID, *plan.columns]),
        before=before,
        answers=_answers(attempt, plan, best, took=took),
    )


def _progress(attempt: Attempt, stage: str) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        steps = min(total, MOST_STEPS)
        attempt.report(stage, done * steps // max(total, 1), steps)

    return report


def _answers(
    attempt: Attempt, plan: services.Plan, best: an.Result, *, took: float
) -> list[dict[str, Any]]:
    """What-if questions, where they cost little; else why they were not asked."""
    reason = ""
    if policies.is_dp(plan.policy):
        reason = "the rows would be drawn anew, and epsilon be spent once more"
    elif plan.levels is not None:
        reason = outcomes.PICKED
    elif took >= CHEAP_SECONDS:
        reason = f"the search took {took:,.0f} seconds, and each would take as long"
    if reason:
        return questions.unanswered(best, reason=reason)
    attempt.report("asking what if")
    return questions.answered(
        best, cancelled=attempt.cancelled, time_limit=CHEAP_SECONDS
    )


def _limit(plan: services.Plan) -> float:
    """Under differential privacy small groups go, however many rows they hold."""
    if policies.is_dp(plan.policy):
        return 1.0
    return float(plan.policy["suppression_limit"])


def _hierarchies(
    plan: services.Plan, frame: pl.DataFrame, needs: inputs.Inputs
) -> dict[str, an.Hierarchy]:
    population = inputs.population_of(needs)
    aggregated = policies.aggregates(plan.policy)
    named = {}
    for column, entry in plan.policy["quasi_identifiers"].items():
        if column in aggregated:
            continue
        values = frame[column]
        if plan.method == "cell_suppression":
            distinct = as_text(values).unique(maintain_order=True)
            named[column] = an.Hierarchy.suppress(distinct)
            continue
        if population is not None:
            values = pl.concat([as_text(values), as_text(population[column])])
        named[column] = hierarchies.of_column(
            hierarchy=entry["hierarchy"], values=values, column=column
        )
    return named


def _local(
    attempt: Attempt,
    plan: services.Plan,
    frame: pl.DataFrame,
    treated: pl.DataFrame,
    asked: dict[str, Any],
) -> Found:
    attempt.report("searching, round by round")
    local = an.recode_locally(
        treated,
        **asked,
        progress=_progress(attempt, "searching, round by round"),
        cancelled=attempt.cancelled,
        time_limit=policies.time_limit(plan.policy),
    )
    return Found(
        best=local.first,
        chosen=local.first,
        release=local.frame.select([ROW_ID, *plan.columns]),
        before=frame,
        answers=questions.unanswered(
            local.first, reason="every round would be searched anew"
        ),
        local=local,
    )


def _of_subset(
    result: an.Result, release: pl.DataFrame, before: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows outside of a subset are not released at all: their other columns neither."""
    subset = result.checker.problem.subset
    if subset is None:
        return release, before
    mask = pl.Series("subset", subset)
    return release.filter(mask), before.filter(mask)
