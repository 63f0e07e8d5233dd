"""A version becomes a model: split, encoded, trained block by block, each block paid.

The order that keeps the ledger true: the first charge (the statistics, else the search,
else the first block of steps) comes before a row is read, so that what the rows do to
this process cannot undo the reservation; each further block is charged before it runs.
A worker that is lost leaves what was charged. The attempt after it goes on from the
newest checkpoint with fresh noise, and pays for the steps that it replays out of the
same reservation: where that does not suffice, the run ends with fewer steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jobs import failpoints
from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from jobs.tasks.train_search import train_searched
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp.events import (
    ComposedEvent,
    Event,
    PoissonGaussianEvent,
    SelectionEvent,
)
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.dp.sampling import PoissonSampler
from privacyhub.engines.dp.spec import REFERENCES
from privacyhub.engines.prepare.encoding import EncodedTable, Encoder
from privacyhub.governance import ledger
from privacyhub.training import (
    artefacts,
    attempts,
    checkpoints,
    encoders,
    guarantee,
    services,
)
from privacyhub.training.checkpoints import Saved
from privacyhub.training.models import Privacy, TrainingRun
from privacyhub.training.plans import TRAINING, Plan
from privacyhub.training.recipe_spec import RecipeSpec
from privacyhub.training.recipes import fit_to
from privacyhub.training.rows import never_empty, read_side

MOST_LOSSES = 200


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, run, version (or empty: the job before sets the run's)."""
    training = TrainingRun.objects.select_related(
        "recipe", "model", "owner", "version__dataset", "version__key"
    ).get(pk=attempt.spec["run"])
    recipe, plan = services.recipe_of(training), services.plan_of(training)
    version = _version_of(attempt, training, recipe)
    saved = checkpoints.latest(job=attempt.job, version=version)
    _require_as_priced(attempt, plan)
    _begin(attempt, training, saved)
    alone = plan.training is not None and plan.selection is None
    if plan.training is not None and alone and not (saved and saved.step):
        _require_steps(attempt, plan.training)
    attempt.report("reading")
    prepaid = _prepay(attempt, plan) if saved is None else 0
    names = [recipe.target, *(column.name for column in recipe.columns)]
    side = read_side(version, columns=names, holdout=recipe.holdout, held_out=False)
    if saved is None:
        encoder = encoders.encoder_of(recipe=recipe, plan=plan, frame=side.frame)
        saved = Saved(step=0, encoder=encoder)
        if plan.statistics is not None:
            _keep(attempt, version, saved)
    attempt.report("encoding")
    table = never_empty(saved.encoder.encode(side.frame, unit_of_row=side.units))
    del side
    attempt.report("compiling", saved.step, plan.spec.steps)
    if plan.selection is not None:
        model = train_searched(
            attempt,
            version,
            recipe,
            plan,
            table,
            saved,
            train=_engine().train,
            pay=lambda search: _pay_search(attempt, search),
        )
    elif recipe.is_private:
        model = _train_private(attempt, version, plan, table, saved, prepaid=prepaid)
    else:
        model = _train_bare(attempt, version, plan, table, saved)
    attempt.check()
    attempt.report("saving", plan.spec.steps, plan.spec.steps)
    model = _with_guarantee(attempt, training, recipe, plan, model, saved.encoder)
    stored = artefacts.store(model)
    failpoints.reach("train.stored")

    def publish() -> dict[str, Any]:
        made = services.publish(
            run=training, model=model, stored=stored, losses=model.losses
        )
        return {"model": str(made.model_id), "model_version": str(made.pk)}

    return publish


def _version_of(attempt: Attempt, training: TrainingRun, recipe: RecipeSpec) -> Version:
    """The version to train on, which still fits the recipe; JobFailed without it."""
    if training.job_id != attempt.job.pk:
        raise JobFailed(
            "A training is priced and reserved when it is submitted. Train again from "
            "the model's page.",
            code="not_reserved",
        )
    version = training.version
    if version is None and training.after_id is not None:
        raise JobFailed(
            "The anonymization that it waited for holds its release back. Nothing was "
            "charged. Release it, then train on the version.",
            code="no_version",
        )
    if version is None:
        raise JobFailed("The version to train on was not made.", code="no_version")
    try:
        fit_to(recipe=recipe, version=version)
    except DataError as error:
        raise JobFailed(error.message, code=error.code) from error
    return version


def _begin(attempt: Attempt, training: TrainingRun, saved: Saved | None) -> None:
    """Put this attempt on the run; the first of a run without privacy is noted."""
    version, is_first = training.version, not training.attempts
    assert version is not None  # noqa: S101 - checked by _version_of
    with attempt.held():
        attempts.begin(
            run=training,
            job=attempt.job,
            step=saved.step if saved else 0,
            charged=attempts.charged(attempt.job).steps,
        )
        if is_first and training.privacy == Privacy.NONE:
            ledger.note_uncovered_release(
                ledgers=version.ledgers.all(),
                by=training.owner,
                recipient=training.owner.username,
                purpose="training without privacy",
                note=training.reason[:300],
                run_id=attempt.job.pk,
            )


def _require_as_priced(attempt: Attempt, plan: Plan) -> None:
    """The sampler that will run must draw what the ledger holds a price for."""
    training = plan.training
    if training is None or plan.training_price is None:
        return
    sampler = PoissonSampler(
        units=plan.spec.units, sampling_probability=plan.spec.sampling_probability
    )
    drawn = sampler.event(
        steps=plan.spec.steps, noise_multiplier=training.noise_multiplier
    )
    paid = plan.selection.event if plan.selection else training
    parts = paid.events if isinstance(paid, ComposedEvent) else (paid,)
    priced = plan.training_price.event
    if (
        drawn != training
        or training not in parts
        or not attempts.is_held(job=attempt.job, event=priced)
    ):
        raise JobFailed(
            "The training that would run is not the one that was priced. Nothing was "
            "charged. Train again from the model's page.",
            code="not_as_priced",
        )


def _require_reading(attempt: Attempt, plan: Plan, statistics: Event) -> None:
    """A reading must leave enough of what was reserved for what is to follow it."""
    if plan.training is None:
        return
    after = plan.selection or replace(plan.training, steps=1)
    if not attempts.affords(job=attempt.job, events=[statistics, after]):
        raise JobFailed(
            "The columns were read and lost with a worker before they could be saved, "
            "and what is left does not pay for another reading and the training after "
            "it. What was charged stays charged. Train again from the model's page.",
            code="worker_lost",
        )


def _require_steps(attempt: Attempt, training: PoissonGaussianEvent) -> None:
    """Without a saved step, something must be left of what was reserved."""
    step = replace(training, steps=1)
    if not attempts.affordable_steps(job=attempt.job, step=step):
        raise JobFailed(
            "Every step that was reserved was lost with a worker before one could be "
            "saved. What was charged stays charged. Train again from the model's page.",
            code="worker_lost",
        )


def _prepay(attempt: Attempt, plan: Plan) -> int:
    """Charge what the run reads first, before it reads; the steps among it."""
    if plan.statistics is not None:
        _require_reading(attempt, plan, plan.statistics)
        _pay(
            attempt,
            plan.statistics,
            note="bounds and categories",
            delta_units=encoders.delta_units_of_reading(plan),
        )
        return 0
    if plan.selection is not None:
        _pay_search(attempt, plan.selection)
        return 0
    if plan.training is None:
        return 0
    step = replace(plan.training, steps=1)
    left = attempts.affordable_steps(job=attempt.job, step=step)
    steps = min(plan.spec.block, left)
    _pay_steps(attempt, plan.training, first=1, last=steps)
    return steps


def _pay_search(attempt: Attempt, search: SelectionEvent) -> None:
    """Charge a search over settings, whole; it is charged once, whoever asks."""
    if not attempts.charged(attempt.job).selection:
        _pay(attempt, search, note="search over settings")


def _pay_steps(
    attempt: Attempt, training: PoissonGaussianEvent, *, first: int, last: int
) -> None:
    """Charge the steps with these numbers, from 1."""
    event = replace(training, steps=last - first + 1)
    _pay(attempt, event, note=f"steps {first} to {last}")


def _pay(attempt: Attempt, event: Event, *, note: str, delta_units: int = 0) -> None:
    """Charge before the read. JobFailed when the reservation does not cover it.

    A worker that was thought dead charges nothing: StaleAttempt.
    """
    failpoints.reach("train.paying")
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
    failpoints.reach("train.paid")


def _keep(attempt: Attempt, version: Version, saved: Saved) -> None:
    checkpoints.save(job=attempt.job, version=version, position=saved.step, saved=saved)


def _train_private(
    attempt: Attempt,
    version: Version,
    plan: Plan,
    table: EncodedTable,
    saved: Saved,
    *,
    prepaid: int,
) -> TrainedModel:
    """prepaid: steps that this attempt was charged before it read a row."""
    training = plan.training
    assert training is not None  # noqa: S101 - the plan of a private recipe has one
    if not (saved.step or prepaid):
        _require_steps(attempt, training)  # the columns may have been read once more
    step = replace(training, steps=1)
    limit = prepaid + attempts.affordable_steps(job=attempt.job, step=step)
    paid = attempts.charged(attempt.job).steps

    def pay(start: int, steps: int) -> None:
        nonlocal paid, prepaid
        due = max(0, steps - prepaid)
        prepaid -= steps - due
        if due:
            end = start + steps
            _pay_steps(attempt, training, first=end - due + 1, last=end)
            paid += due

    def keep(step: int, state: bytes) -> None:
        failpoints.reach("train.ran")
        now = replace(saved, step=step, charged=paid, state=state)
        _keep(attempt, version, now)

    reference = plan.spec.implementation in REFERENCES
    train = _reference().train_reference if reference else _engine().train
    model: TrainedModel = train(
        table,
        spec=plan.spec,
        noise_multiplier=training.noise_multiplier,
        on_block=pay,
        progress=_progress(attempt, plan, paid=lambda: paid),
        cancelled=attempt.cancelled,
        resume_from=saved.state or None,
        on_checkpoint=keep,
        steps_limit=limit,
    )
    return replace(model, steps_run=saved.step + model.steps_run)


def _train_bare(
    attempt: Attempt, version: Version, plan: Plan, table: EncodedTable, saved: Saved
) -> TrainedModel:
    def keep(step: int, state: bytes) -> None:
        failpoints.reach("train.ran")
        _keep(attempt, version, replace(saved, step=step, state=state))

    model: TrainedModel = _engine().train_plain(
        table,
        spec=plan.spec,
        progress=_progress(attempt, plan, paid=lambda: 0),
        cancelled=attempt.cancelled,
        resume_from=saved.state or None,
        on_checkpoint=keep,
    )
    return replace(model, steps_run=saved.step + model.steps_run)


def _engine() -> Any:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    from privacyhub.engines.dp import training  # TensorFlow, in this child alone

    return training


def _reference() -> Any:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    from privacyhub.engines.dp import reference  # TensorFlow, in this child alone

    return reference


def _progress(
    attempt: Attempt, plan: Plan, *, paid: Callable[[], int]
) -> Callable[[int, int], None]:
    """`paid`: the steps that all attempts were charged so far."""
    epochs = max(1, round(plan.spec.epochs))

    def report(done: int, total: int) -> None:
        epoch = min(epochs, int(done / max(1, total) * epochs) + 1)
        steps = paid()
        spent = plan.epsilon_after(steps) if plan.training and steps else None
        attempt.report(
            f"training, epoch {epoch} of {epochs}", done, total, epsilon=spent
        )

    return report


def _with_guarantee(
    attempt: Attempt,
    training: TrainingRun,
    recipe: RecipeSpec,
    plan: Plan,
    model: TrainedModel,
    encoder: Encoder,
) -> TrainedModel:
    """The model with what it guarantees: for every charge of every attempt."""
    version = training.version
    assert version is not None  # noqa: S101 - checked by _version_of
    losses = _thinned(model.losses)
    if not isinstance(model.event, PoissonGaussianEvent):
        told = guarantee.absent(recipe=recipe, plan=plan, reason=training.reason)
        return replace(model, guarantee=told, losses=losses)
    charged = attempts.charged(attempt.job)
    event: Event
    if charged.selection is None:
        event = executed = replace(model.event, steps=charged.steps)
    else:
        event, executed = charged.selection, model.event
    told = guarantee.private(
        recipe=recipe,
        plan=plan,
        account=the_ledger(version),
        source=version,
        executed=executed,
        charged=charged,
        attempts=training.attempts,
        spec=model.spec,
        steps_in_model=model.steps_run,
        column_sources={column.name: column.source for column in encoder.columns},
    )
    return replace(model, guarantee=told, losses=losses, event=event)


def _thinned(losses: list[float]) -> list[float]:
    """At most `MOST_LOSSES` mean losses, evenly over the run."""
    if len(losses) <= MOST_LOSSES:
        return losses
    width = len(losses) / MOST_LOSSES
    parts = [losses[int(k * width) : int((k + 1) * width)] for k in range(MOST_LOSSES)]
    return [sum(part) / len(part) for part in parts]
