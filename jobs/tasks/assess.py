"""Metrics of a model on its held-out units: exact for stewards, noised for others."""

from __future__ import annotations

from typing import Any

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from privacyhub.assessment import evaluation
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp.events import LaplaceEvent, event_from_dict
from privacyhub.governance import ledger
from privacyhub.training import artefacts
from privacyhub.training.models import ModelVersion
from privacyhub.training.plans import METRICS
from privacyhub.training.rows import read_side
from privacyhub.training.services import has_run_before, recipe_of

STEPS = 3


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, run (whose model is assessed), epsilon, event."""
    model_version = ModelVersion.objects.select_related(
        "run__recipe", "run__version", "key"
    ).get(run=attempt.spec["run"])
    version = model_version.run.version
    event = event_from_dict(attempt.spec["event"])
    if version is None or not isinstance(event, LaplaceEvent):
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
    accounts = version.ledgers.all()
    attempt.report("reading the held-out rows", 1, STEPS)
    try:
        with attempt.held():
            ledger.charge(
                run_id=attempt.job.pk,
                purpose=METRICS,
                event=event,
                note="score histogram",
            )
    except ledger.LedgerError as error:
        raise JobFailed(
            "Nothing is reserved for this assessment. Ask for one on the model's page.",
            code="not_reserved",
        ) from error
    ledger.note_steward_read(
        ledgers=accounts,
        by=attempt.job.owner,
        purpose="exact metrics",
        run_id=attempt.job.pk,
    )
    names = [recipe.target, *(column.name for column in recipe.columns)]
    side = read_side(version, columns=names, holdout=recipe.holdout, held_out=True)
    scored = evaluation.score(model=model, side=side)
    attempt.report("computing metrics", 2, STEPS, epsilon=attempt.spec["epsilon"])
    exact = evaluation.exact(model=model, scored=scored)
    released = evaluation.released(
        model=model,
        scored=scored,
        event=event,
        most_rows=the_ledger(version).most_rows_per_unit,
    )

    def publish() -> dict[str, Any]:
        made = evaluation.record(
            model_version=model_version,
            job=attempt.job,
            exact=exact,
            released=released,
            epsilon=attempt.spec["epsilon"],
        )
        return {"model_version": str(model_version.pk), "assessment": str(made.pk)}

    return publish
