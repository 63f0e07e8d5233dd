"""A training that searches over settings: many trials, of which the best one leaves.

The whole search is charged before its first trial, since the number of trials is
secret and its price covers any. A search whose worker is lost goes on with the trials
that are left: the one that was at work counts as one that lost.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jobs import failpoints
from jobs.execution import Attempt
from jobs.states import JobFailed
from privacyhub.datasets.models import Version
from privacyhub.engines.dp import tuning as engine
from privacyhub.engines.dp.artefact import load_model, save_model
from privacyhub.engines.dp.events import SelectionEvent
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.dp.trial_score import noisy_score
from privacyhub.engines.dp.tuning import SearchState
from privacyhub.engines.prepare.encoding import EncodedTable
from privacyhub.training import checkpoints, tuning
from privacyhub.training.checkpoints import Saved
from privacyhub.training.plans import Plan
from privacyhub.training.recipe_spec import RecipeSpec


def train_searched(
    attempt: Attempt,
    version: Version,
    recipe: RecipeSpec,
    plan: Plan,
    table: EncodedTable,
    saved: Saved,
    *,
    train: Callable[..., TrainedModel],
    pay: Callable[[SelectionEvent], None],
) -> TrainedModel:
    """The best trial. JobFailed where there was none.

    train: the engine's. pay: charges the search unless it was charged before, or raises
    JobFailed.
    """
    search, training, selection = recipe.tuning, plan.training, plan.selection
    if search is None or training is None or selection is None:
        raise ValueError("The recipe has no search.")
    state = _state(attempt, saved)
    if state is None:
        pay(selection)
        state = engine.begin_search(
            mean_trials=search["mean_trials"], trials=search["trials"]
        )

    def keep(now: SearchState) -> None:
        attempt.check()
        _keep(attempt, version, saved, now)
        failpoints.reach("train.trial")

    def train_one(spec: TrainSpec) -> TrainedModel:
        # How far a trial is would tell how many there are: the stage says no more.
        return train(
            table,
            spec=spec,
            noise_multiplier=training.noise_multiplier,
            on_block=lambda start, steps: None,
            progress=lambda done, total: attempt.report(
                "trying settings", epsilon=plan.epsilon_after(plan.spec.steps)
            ),
            cancelled=attempt.cancelled,
        )

    def score_one(model: TrainedModel) -> float:
        attempt.check()  # a trial that was stopped half-way has no score
        noise = tuning.score_noise(selection)
        return noisy_score(model, table, noise_multiplier=noise)

    best = engine.search(
        spec=plan.spec,
        space=tuning.checked_space(search, spec=plan.spec),
        state=state,
        train_one=train_one,
        score_one=score_one,
        keep=keep,
    )
    if best is None:
        raise JobFailed(
            "The search drew no trial, or lost every one with its worker. What was "
            "charged stays charged: the draw must stay secret. Train again from the "
            "model's page.",
            code="no_trial",
        )
    return best


def _state(attempt: Attempt, saved: Saved) -> SearchState | None:
    """Where an earlier attempt was; None where no trial was begun.

    The job's row tells how many trials were begun, in case the newest checkpoint is
    damaged and an older one was read: no trial is run twice.
    """
    begun = attempt.job.saved_to
    told: dict[str, Any] | None = saved.search
    if told is None and not begun:
        return None
    if told is None:
        return SearchState(drawn=0)  # what was drawn is lost: no further trial
    best = None
    if told["best"] is not None:
        model = load_model(io.BytesIO(base64.b64decode(told["best"])))
        best = (told["score"], model)
    return SearchState(
        drawn=told["drawn"], started=max(told["started"], begun), best=best
    )


def _keep(attempt: Attempt, version: Version, saved: Saved, state: SearchState) -> None:
    best = None
    if state.best is not None:
        buffer = io.BytesIO()
        save_model(state.best[1], buffer)
        best = base64.b64encode(buffer.getvalue()).decode()
    told = {
        "drawn": state.drawn,
        "started": state.started,
        "score": state.best[0] if state.best else None,
        "best": best,
    }
    checkpoints.save(
        job=attempt.job,
        version=version,
        position=state.started,
        saved=replace(saved, search=told),
    )
