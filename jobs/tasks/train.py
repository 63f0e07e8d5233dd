"""A version becomes a model: split, encoded, trained block by block, each block paid.

The order that keeps the ledger true: the statistics are charged before a training row
is counted, each block of steps before it runs. A worker that is lost leaves what was
charged; the attempt after it does not read rows again, since nothing was left to
resume from.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp.events import Event, PoissonGaussianEvent
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.prepare.encoding import (
    ColumnSpec,
    EncodedTable,
    Encoder,
    Source,
)
from privacyhub.engines.prepare.statistics import dp_column_statistics
from privacyhub.governance import ledger
from privacyhub.training import artefacts, guarantee, services
from privacyhub.training.models import TrainingRun
from privacyhub.training.plans import LEAST_DEVIATION, TRAINING, Plan
from privacyhub.training.recipes import RecipeSpec, fit_to, target_spec
from privacyhub.training.rows import read_side

MOST_LOSSES = 200
_NAMES_DELTA = 1e-6  # of a run without privacy, whose domains nothing protects


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, run, version (or empty: the job before sets the run's)."""
    training = TrainingRun.objects.select_related(
        "recipe", "model", "owner", "version__dataset"
    ).get(pk=attempt.spec["run"])
    _require_first_attempt(attempt, training)
    recipe, plan = services.recipe_of(training), services.plan_of(training)
    version = training.version
    if version is None:
        raise JobFailed("The version to train on was not made.", code="no_version")
    try:
        fit_to(recipe=recipe, version=version)
    except DataError as error:
        raise JobFailed(error.message, code=error.code) from error
    attempt.report("reading")
    if not recipe.is_private:
        _note_uncovered(attempt, training)
    names = [recipe.target, *(column.name for column in recipe.columns)]
    side = read_side(version, columns=names, holdout=recipe.holdout, held_out=False)
    encoder = _encoder(attempt, recipe, plan, side.frame)
    attempt.report("encoding")
    table = encoder.encode(side.frame, unit_of_row=side.units)
    del side
    attempt.report("compiling", 0, plan.spec.steps)
    train = _train_private if recipe.is_private else _train_bare
    model = train(attempt, plan, table)
    attempt.check()
    attempt.report("saving", plan.spec.steps, plan.spec.steps)
    told = _guarantee(training, recipe, plan, model, encoder)
    model = replace(model, guarantee=told, losses=_thinned(model.losses))
    stored = artefacts.store(model)

    def publish() -> dict[str, Any]:
        made = services.publish(
            run=training, model=model, stored=stored, losses=model.losses
        )
        return {"model": str(made.model_id), "model_version": str(made.pk)}

    return publish


def _require_first_attempt(attempt: Attempt, training: TrainingRun) -> None:
    if training.job_id != attempt.job.pk:
        raise JobFailed(
            "A training is priced and reserved when it is submitted. Train again from "
            "the model's page.",
            code="not_reserved",
        )
    if services.has_run_before(attempt.job):
        raise JobFailed(
            "Its worker was lost after private steps had run. What was charged stays "
            "charged. Train again from the model's page.",
            code="worker_lost",
        )


def _note_uncovered(attempt: Attempt, training: TrainingRun) -> None:
    version = training.version
    assert version is not None  # noqa: S101 - checked by run
    ledger.note_uncovered_release(
        ledgers=version.ledgers.all(),
        by=training.owner,
        recipient=training.owner.username,
        purpose="training without privacy",
        note=training.reason[:300],
        run_id=attempt.job.pk,
    )


def _encoder(
    attempt: Attempt, recipe: RecipeSpec, plan: Plan, frame: pl.DataFrame
) -> Encoder:
    """Declared domains, and those that statistics find, charged before they read."""
    searched = recipe.searched
    found: dict[str, ColumnSpec] = {}
    if searched:
        attempt.report("finding bounds and categories")
        noise, delta = LEAST_DEVIATION, _NAMES_DELTA
        if plan.statistics is not None:
            noise = plan.statistics.noise_multiplier
            delta = plan.additive_delta or delta
            _pay(
                attempt,
                plan.statistics,
                note="bounds and categories",
                delta_units=plan.delta_units,
            )
        told = dp_column_statistics(
            frame,
            searched,
            noise_multiplier=noise,
            delta_share=delta,
            max_rows_per_unit=plan.spec.max_rows_per_unit,
        )
        source: Source = "dp" if recipe.is_private else "not covered"
        found = {spec.name: replace(spec, source=source) for spec in told.columns}
    columns = [
        found.get(column.name)
        or ColumnSpec(
            name=column.name,
            kind=column.kind,
            lower=column.lower,
            upper=column.upper,
            categories=column.categories,
        )
        for column in recipe.columns
    ]
    goal, bounds = found.get(recipe.target), None
    if goal is not None and goal.lower is not None and goal.upper is not None:
        bounds = (goal.lower, goal.upper)
    return Encoder(columns, target=target_spec(recipe, bounds))


def _pay(attempt: Attempt, event: Event, *, note: str, delta_units: int = 0) -> None:
    """Charge before the read. JobFailed when the reservation does not cover it.

    A worker that was thought dead charges nothing: StaleAttempt.
    """
    try:
        with attempt.held():
            ledger.charge(
                run_id=attempt.job.pk,
                purpose=TRAINING,
                event=event,
                delta_units=delta_units,
                note=note,
            )
    except ledger.LedgerError as error:
        raise JobFailed(error.message, code="ledger") from error


def _train_private(attempt: Attempt, plan: Plan, table: EncodedTable) -> TrainedModel:
    training = plan.training
    assert training is not None  # noqa: S101 - the plan of a private recipe has one

    def pay(start: int, steps: int) -> None:
        event = PoissonGaussianEvent(
            sampling_probability=training.sampling_probability,
            noise_multiplier=training.noise_multiplier,
            steps=steps,
        )
        _pay(attempt, event, note=f"steps {start + 1} to {start + steps}")

    reference = plan.spec.implementation == "dpsequential"
    if reference and table.ids.shape[1]:
        raise JobFailed(
            "DPSequential is offered for tables without a category column of more "
            "than 64 values. Train with the hub's own loop.",
            code="implementation",
        )
    train = _reference().train_dpsequential if reference else _engine().train
    model: TrainedModel = train(
        table,
        spec=plan.spec,
        noise_multiplier=training.noise_multiplier,
        on_block=pay,
        progress=_progress(attempt, plan),
        cancelled=attempt.cancelled,
    )
    return model


def _train_bare(attempt: Attempt, plan: Plan, table: EncodedTable) -> TrainedModel:
    return _engine().train_plain(
        table,
        spec=plan.spec,
        progress=_progress(attempt, plan),
        cancelled=attempt.cancelled,
    )


def _engine() -> Any:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    from privacyhub.engines.dp import training  # TensorFlow, in this child alone

    return training


def _reference() -> Any:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    from privacyhub.engines.dp import reference  # TensorFlow, in this child alone

    return reference


def _progress(attempt: Attempt, plan: Plan) -> Callable[[int, int], None]:
    epochs = max(1, round(plan.spec.epochs))

    def report(done: int, total: int) -> None:
        epoch = min(epochs, int(done / max(1, total) * epochs) + 1)
        spent = plan.epsilon_after(done) if plan.training and done else None
        attempt.report(
            f"training, epoch {epoch} of {epochs}", done, total, epsilon=spent
        )

    return report


def _guarantee(
    training: TrainingRun,
    recipe: RecipeSpec,
    plan: Plan,
    model: TrainedModel,
    encoder: Encoder,
) -> dict[str, Any]:
    version = training.version
    assert version is not None  # noqa: S101 - checked by run
    if not isinstance(model.event, PoissonGaussianEvent):
        return guarantee.absent(recipe=recipe, plan=plan, reason=training.reason)
    return guarantee.private(
        recipe=recipe,
        plan=plan,
        account=the_ledger(version),
        source=version,
        executed=model.event,
        column_sources={column.name: column.source for column in encoder.columns},
    )


def _thinned(losses: list[float]) -> list[float]:
    """At most `MOST_LOSSES` mean losses, evenly over the run."""
    if len(losses) <= MOST_LOSSES:
        return losses
    width = len(losses) / MOST_LOSSES
    parts = [losses[int(k * width) : int((k + 1) * width)] for k in range(MOST_LOSSES)]
    return [sum(part) / len(part) for part in parts]
