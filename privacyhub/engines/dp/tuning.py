"""Random search over settings, priced by the accountant of private selection.

The number of trials is drawn before the first one, from a Poisson or geometric
distribution, and is never shown: neither it nor a trial that lost leaves. The best
trial by a score that is itself private is kept (Papernot and Steinke, arXiv
2110.03620). The price is that of `events.SelectionEvent`, by RDP, and is known before
the search starts.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.special import pdtr

from privacyhub.engines.dp.accounting import MAX_NOISE_MULTIPLIER, epsilon
from privacyhub.engines.dp.entropy import fresh_words, unit_interval
from privacyhub.engines.dp.events import (
    Event,
    PoissonGaussianEvent,
    SelectionEvent,
    compose,
)
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.dp.spec import TrainSpec

Trials = Literal["poisson", "geometric"]

# What a search may vary: settings that leave the price of a trial as it is.
SEARCHABLE = frozenset(
    {
        "learning_rate",
        "clip_norm",
        "clip_quantile",
        "hidden",
        "activation",
        "optimizer",
        "momentum",
        "schedule",
        "ema",
        "embedding_width",
        "class_weights",
    }
)


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Values to choose from, by setting; each trial draws one of each."""

    choices: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        unknown = set(self.choices) - SEARCHABLE
        if unknown:
            raise ValueError(f"Cannot be searched: {', '.join(sorted(unknown))}.")
        if any(len(values) == 0 for values in self.choices.values()):
            raise ValueError("Each searched setting needs at least one value.")

    def draw(self, spec: TrainSpec) -> TrainSpec:
        """The spec with a random choice of each searched setting."""
        drawn = {name: secrets.choice(values) for name, values in self.choices.items()}
        return replace(spec, **drawn)


def selection_event(
    trial: Event, *, mean_trials: float, trials: Trials = "poisson"
) -> SelectionEvent:
    """The price of the whole search; `trial` is training and its private score."""
    shape = math.inf if trials == "poisson" else 1.0
    return SelectionEvent(event=trial, mean_trials=mean_trials, shape=shape)


def tuned_noise_multiplier(
    *,
    target_epsilon: float,
    delta: float,
    sampling_probability: float,
    steps: int,
    score_event: Event,
    mean_trials: float,
    trials: Trials = "poisson",
    also: Sequence[Event] = (),
) -> float:
    """The least noise (to 1%) with which the whole search stays within the target.

    `also` are the events that the same units pay for once, such as DP statistics.
    Raises ValueError where these and the scores alone pass it.
    """

    def total(noise: float) -> float:
        training = PoissonGaussianEvent(
            sampling_probability=sampling_probability,
            noise_multiplier=noise,
            steps=steps,
        )
        event = selection_event(
            compose([training, score_event]), mean_trials=mean_trials, trials=trials
        )
        return epsilon(compose([*also, event]), delta=delta)

    low, high = 0.3, 2.0
    while total(high) > target_epsilon:
        low, high = high, 2 * high
        if high > MAX_NOISE_MULTIPLIER:
            raise ValueError(
                "No noise multiplier reaches this epsilon: raise the epsilon, or "
                "lower the number of trials or the price of their scores."
            )
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        if total(middle) > target_epsilon:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True, kw_only=True)
class SearchState:
    """How far a search is: `started` of `drawn` trials, and the best that ended.

    Both numbers are secret: only the best trial leaves.
    """

    drawn: int
    started: int = 0
    best: tuple[float, TrainedModel] | None = None


def begin_search(*, mean_trials: float, trials: Trials = "poisson") -> SearchState:
    """Draw the number of trials, once for a search; geometric ones are at least 1."""
    uniform = float(unit_interval(fresh_words()(1))[0])
    if trials == "poisson":
        below = pdtr(np.arange(_most_trials(mean_trials)), mean_trials)
        return SearchState(drawn=int(np.searchsorted(below, uniform)))
    others = math.log(uniform) / math.log1p(-1 / mean_trials)
    return SearchState(drawn=1 + int(others))


def _most_trials(mean: float) -> int:
    """More than a Poisson number passes in one of 2^53 draws."""
    return int(mean + 40 * math.sqrt(mean)) + 40


def search(
    *,
    spec: TrainSpec,
    space: SearchSpace,
    state: SearchState,
    train_one: Callable[[TrainSpec], TrainedModel],
    score_one: Callable[[TrainedModel], float],
    keep: Callable[[SearchState], None] = lambda state: None,
) -> TrainedModel | None:
    """Run the search and return the best trial; None when there was none.

    `train_one` trains privately; `score_one` is a private score, higher is better. The
    whole of `selection_event` must be charged before the call.

    keep(state) is called before each trial. A search that is taken up again from such
    a state never runs a trial twice: one that was interrupted counts as one that lost.
    That is post-processing of each trial as long as what interrupts does not depend
    on the data, so the price stays the same, and no more trials run than were drawn.
    """
    while state.started < state.drawn:
        state = replace(state, started=state.started + 1)
        keep(state)
        model = train_one(space.draw(spec))
        score = score_one(model)
        if state.best is None or score > state.best[0]:
            state = replace(state, best=(score, model))
    return None if state.best is None else state.best[1]
