"""A model's error by declared group: exact for stewards, noised for others."""

from __future__ import annotations

from typing import Any

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from privacyhub.assessment import evaluation, group_evaluation
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp.events import LaplaceEvent, event_from_dict
from privacyhub.governance import ledger
from privacyhub.training import artefacts
from privacyhub.training.models import ModelVersion
from privacyhub.training.plans import METRICS
from privacyhub.training.rows import Side, read_side
from privacyhub.training.services import has_run_before, recipe_of

STEPS = 3


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, run (whose model is assessed), column, groups, epsilon, event."""
    spec = attempt.spec
    model_version = ModelVersion.objects.select_related(
        "run__recipe", "run__version", "key"
    ).get(run=spec["run"])
    version = model_version.run.version
    if version is None:
        raise JobFailed("There is nothing to assess.", code="no_version")
    if has_run_before(attempt.job):
        raise JobFailed(
            "Its worker was lost after the held-out rows were charged. Ask for "
            "another assessment on the model's page.",
            code="worker_lost",
        )
    attempt.report("opening the model", 0, STEPS)
    model = artefacts.load(model_version)
    recipe = recipe_of(model_version.run)
    attempt.report("reading the held-out rows", 1, STEPS)
    event = _charged(attempt)
    ledger.note_steward_read(
        ledgers=version.ledgers.all(),
        by=attempt.job.owner,
        purpose="exact error by group",
        run_id=attempt.job.pk,
    )
    names = [recipe.target, *(column.name for column in recipe.columns)]
    columns = list(dict.fromkeys([*names, spec["column"]]))
    side = read_side(version, columns=columns, holdout=recipe.holdout, held_out=True)
    scored = evaluation.score(
        model=model, side=Side(frame=side.frame.select(names), units=side.units)
    )
    attempt.report("computing errors", 2, STEPS, epsilon=spec["epsilon"] or None)
    exact, released = group_evaluation.figures(
        model=model,
        scored=scored,
        values=side.frame[spec["column"]],
        groups=tuple(spec["groups"]),
        event=event,
        most_rows=the_ledger(version).most_rows_per_unit,
    )

    def publish() -> dict[str, Any]:
        made = group_evaluation.record(
            model_version=model_version,
            job=attempt.job,
            exact=exact,
            released=released,
        )
        return {
            "model_version": str(model_version.pk),
            "group_assessment": str(made.pk),
        }

    return publish


def _charged(attempt: Attempt) -> LaplaceEvent | None:
    """The histogram's event, charged; None where nothing is to be released."""
    if attempt.spec["event"] is None:
        return None
    event = event_from_dict(attempt.spec["event"])
    if not isinstance(event, LaplaceEvent):
        raise JobFailed("There is nothing to assess.", code="no_version")
    try:
        with attempt.held():
            ledger.charge(
                run_id=attempt.job.pk,
                purpose=METRICS,
                event=event,
                note="histogram of outcomes by group",
            )
    except ledger.LedgerError as error:
        raise JobFailed(
            "Nothing is reserved for this assessment. Ask for one on the model's page.",
            code="not_reserved",
        ) from error
    return event
