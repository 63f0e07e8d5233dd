"""The noisy mechanisms of a plan: what each adds, within the recipe's epsilon.

Training and DP statistics share one epsilon, so the noise of each follows from the
other's. No row is read.
"""

from __future__ import annotations

import math
from functools import lru_cache

from privacyhub.datasets.errors import DataError
from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.accounting import EpsilonAfter
from privacyhub.engines.dp.events import (
    GaussianEvent,
    PoissonGaussianEvent,
    compose,
)
from privacyhub.engines.dp.orders import UNITS_PER_ONE
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.training import tuning
from privacyhub.training.recipe_spec import RecipeSpec

STATISTICS_SHARE = 0.1  # of the training's budget, in mu squared
ADDITIVE_SHARE = 0.02  # of delta, for the names of categories
# Of the reserved delta for names of categories each reading takes one share, so that
# an attempt whose worker is lost before it could save them may read once more.
READINGS = 2
LEAST_DEVIATION = 2.0  # below it the integer noise is no Gaussian's equal


def additive_delta(recipe: RecipeSpec, *, delta: float) -> float:
    """The part of delta that finding names of categories takes.

    Raises DataError where it is less than the ledger can charge for each reading.
    """
    if not (recipe.is_private and "category" in recipe.searched.values()):
        return 0.0
    least = READINGS / UNITS_PER_ONE / ADDITIVE_SHARE
    if delta < least * (1 - 1e-9):
        raise DataError(
            f"Delta must be at least {least:.0e} where names of categories are to be "
            f"found: they take {ADDITIVE_SHARE:.0%} of it. Choose a larger delta, or "
            "declare the values of the category columns.",
            code="delta",
        )
    return delta * ADDITIVE_SHARE


def statistics_event(recipe: RecipeSpec, *, delta: float) -> GaussianEvent | None:
    """What finding bounds and categories costs; None where all is declared."""
    read = sum(kind != "boolean" for kind in recipe.searched.values())
    if not read:
        return None
    # All columns together take the share, as `statistics_noise_multiplier` has it.
    single = _single_noise(float(recipe.epsilon), delta)
    noise = max(LEAST_DEVIATION, single * math.sqrt(read / STATISTICS_SHARE))
    return GaussianEvent(noise_multiplier=noise, count=read)


@lru_cache(maxsize=256)
def _single_noise(epsilon: float, delta: float) -> float:
    return accounting.noise_multiplier_for(
        target_epsilon=epsilon, delta=delta, sampling_probability=1.0, steps=1
    )


@lru_cache(maxsize=256)
def training_event(
    *,
    epsilon: float,
    delta: float,
    sampling_probability: float,
    steps: int,
    statistics: GaussianEvent | None,
) -> tuple[PoissonGaussianEvent, float, tuple[EpsilonAfter, ...]]:
    """The training with the least noise for `epsilon`, its epsilon, and by step."""
    also = [statistics] if statistics else []
    noise = accounting.noise_multiplier_for(
        target_epsilon=epsilon,
        delta=delta,
        sampling_probability=sampling_probability,
        steps=steps,
        also=also,
    )
    event = PoissonGaussianEvent(
        sampling_probability=sampling_probability, noise_multiplier=noise, steps=steps
    )
    table = accounting.epsilon_table(
        sampling_probability=sampling_probability,
        noise_multiplier=noise,
        steps=steps,
        delta=delta,
        also=also,
        points=20,
    )
    accounted = accounting.epsilon(compose([event, *also]), delta=delta)
    return event, accounted, tuple(table)


def search_price(
    recipe: RecipeSpec,
    spec: TrainSpec,
    *,
    delta: float,
    statistics: GaussianEvent | None,
) -> tuning.SearchPrice:
    """A search over settings at the recipe\'s epsilon. Raises DataError, ValueError."""
    told = recipe.tuning or {}
    tuning.checked_space(told, spec=spec)
    return tuning.price_of(
        epsilon=float(recipe.epsilon),
        delta=delta,
        single_noise=_single_noise(float(recipe.epsilon), delta),
        sampling_probability=spec.sampling_probability,
        steps=spec.steps,
        statistics=statistics,
        mean_trials=told["mean_trials"],
        trials=told["trials"],
        least_deviation=LEAST_DEVIATION,
    )
