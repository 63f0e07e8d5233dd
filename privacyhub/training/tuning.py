"""A search over settings as part of a recipe: what it tries, and what it costs.

The number of trials is drawn from a Poisson or geometric distribution and stays
secret; the best trial by a private score is kept. The price (by RDP, of private
selection) is the same whatever is drawn, and is charged whole before the first trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, get_args

from privacyhub.datasets.errors import DataError
from privacyhub.engines.dp import accounting, tuning
from privacyhub.engines.dp.events import (
    ComposedEvent,
    GaussianEvent,
    PoissonGaussianEvent,
    SelectionEvent,
    compose,
)
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.dp.tuning import SEARCHABLE, SearchSpace, Trials

DEFAULT_TRIALS = 5.0
MOST_TRIALS = 50.0  # on average
MOST_VALUES = 20  # of one setting
SCORE_SHARE = 0.02  # of a single release's budget, in mu squared


def tuning_of(given: Any) -> dict[str, Any] | None:
    """A request's search: space, mean_trials and trials; None without one.

    Raises DataError naming the setting. Values are checked by `checked_space`.
    """
    if not given:
        return None
    if not isinstance(given, Mapping):
        raise _refused("The search must be an object.")
    unknown = sorted(set(given) - {"space", "mean_trials", "trials"})
    if unknown:
        raise _refused(f"“{unknown[0]}” is no part of a search.")
    return {
        "space": _space(given.get("space")),
        "mean_trials": _mean(given.get("mean_trials") or DEFAULT_TRIALS),
        "trials": _distribution(given.get("trials") or "poisson"),
    }


def _space(given: Any) -> dict[str, list[Any]]:
    if not isinstance(given, Mapping) or not given:
        raise _refused("Name at least one setting to search, with its values.")
    for name, values in given.items():
        if name not in SEARCHABLE:
            raise _refused(
                f"“{name}” cannot be searched. These can: "
                f"{', '.join(sorted(SEARCHABLE))}."
            )
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise _refused(f"The values of “{name}” are a list.")
        if len(values) > MOST_VALUES:
            raise _refused(f"“{name}” has at most {MOST_VALUES} values.")
    return {name: list(values) for name, values in given.items()}


def _mean(given: Any) -> float:
    try:
        mean = float(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused("The mean number of trials must be a number.") from error
    if not 1 < mean <= MOST_TRIALS:
        raise _refused(
            f"The mean number of trials lies above 1 and is at most {MOST_TRIALS:g}."
        )
    return mean


def _distribution(given: Any) -> str:
    if given not in get_args(Trials):
        raise _refused("The number of trials is “poisson” or “geometric”.")
    return str(given)


def _refused(message: str) -> DataError:
    return DataError(message, code="tuning")


def checked_space(search: Mapping[str, Any], *, spec: TrainSpec) -> SearchSpace:
    """The space, each value of which the run's spec can take. Raises DataError."""
    choices: dict[str, tuple[Any, ...]] = {}
    for name, values in search["space"].items():
        choices[name] = tuple(_value(name, value, spec) for value in values)
    return SearchSpace(choices=choices)


def _value(name: str, value: Any, spec: TrainSpec) -> Any:
    try:
        stored = spec.to_dict() | {name: value}
        taken = getattr(TrainSpec.from_dict(stored), name)
        replace(spec, **{name: taken})
    except (ValueError, TypeError) as error:
        raise _refused(f"A value of “{name}” cannot be: {error}") from error
    return taken


@dataclass(frozen=True, kw_only=True)
class SearchPrice:
    """One trial's training, the whole search, and the epsilon of all that is paid."""

    training: PoissonGaussianEvent
    selection: SelectionEvent
    epsilon_accounted: float


@lru_cache(maxsize=256)
def price_of(
    *,
    epsilon: float,
    delta: float,
    single_noise: float,
    sampling_probability: float,
    steps: int,
    statistics: GaussianEvent | None,
    mean_trials: float,
    trials: Trials,
    least_deviation: float,
) -> SearchPrice:
    """The noise with which the whole search and the statistics keep to `epsilon`.

    single_noise: of one Gaussian release at this epsilon; the score of a trial takes
    a small share of that. Raises ValueError where no noise is enough.
    """
    score = GaussianEvent(
        noise_multiplier=max(least_deviation, single_noise / math.sqrt(SCORE_SHARE))
    )
    also = [statistics] if statistics else []
    noise = tuning.tuned_noise_multiplier(
        target_epsilon=epsilon,
        delta=delta,
        sampling_probability=sampling_probability,
        steps=steps,
        score_event=score,
        mean_trials=mean_trials,
        trials=trials,
        also=also,
    )
    training = PoissonGaussianEvent(
        sampling_probability=sampling_probability, noise_multiplier=noise, steps=steps
    )
    selection = tuning.selection_event(
        compose([training, score]), mean_trials=mean_trials, trials=trials
    )
    accounted = accounting.epsilon(compose([*also, selection]), delta=delta)
    return SearchPrice(
        training=training, selection=selection, epsilon_accounted=accounted
    )


def score_noise(selection: SelectionEvent) -> float:
    """The noise multiplier of a trial's score."""
    trial = selection.event
    if not isinstance(trial, ComposedEvent):
        raise ValueError("The search has no score.")
    return next(
        part.noise_multiplier
        for part in trial.events
        if isinstance(part, GaussianEvent)
    )
