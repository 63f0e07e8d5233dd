"""The privacy-utility curve of a recipe, by simulation; it reads no row.

Epsilons are exact for the noise that each point was simulated with. The rows come from
the declared domains, the labels from a made-up rule: see `engines.dp.simulation`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from privacyhub.datasets.errors import DataError
from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.events import (
    Event,
    GaussianEvent,
    PoissonGaussianEvent,
    compose,
)
from privacyhub.engines.dp.simulation import (
    SimulatedPoint,
    Simulation,
    TooLongError,
    simulate,
)
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import ColumnSpec
from privacyhub.training.mechanisms import LEAST_DEVIATION
from privacyhub.training.plans import Plan
from privacyhub.training.recipes import InputColumn, RecipeSpec

FACTORS = (6.0, 3.0, 1.7, 1.0, 0.6, 0.35)  # of the plan's noise, strictest first
LEAST_NOISE = 0.3
STAND_IN_CATEGORIES = 10


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A simulated point. `chosen` marks the plan's own noise."""

    epsilon: float
    chosen: bool
    simulated: SimulatedPoint


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points by rising epsilon, the run without noise, and what was simulated.

    stand_ins: inputs without a declared domain, simulated by a made-up one.
    """

    points: tuple[CurvePoint, ...]
    without_noise: SimulatedPoint
    simulation: Simulation
    stand_ins: int
    is_linear: bool


class NoCurveError(DataError):
    """A run that has no curve; it says why."""


def curve_of(*, recipe: RecipeSpec, plan: Plan) -> Curve:
    """The curve around a plan.

    Raises NoCurveError without privacy, for a search over settings, and for a run of so
    many steps that simulating it takes too long.
    """
    if plan.training is None or plan.selection is not None:
        raise NoCurveError(
            "There is no curve for a run without privacy, which has no noise, nor for "
            "a search, which tries several settings.",
            code="privacy",
        )
    try:
        return _curve(
            plan.spec,
            tuple(_column(column) for column in recipe.columns),
            plan.training,
            plan.statistics,
            float(plan.delta) - plan.additive_delta,
            sum(column.found == "dp" for column in recipe.columns),
        )
    except TooLongError as error:
        raise NoCurveError(str(error), code="steps") from error


@lru_cache(maxsize=128)
def _curve(
    spec: TrainSpec,
    columns: tuple[ColumnSpec, ...],
    training: PoissonGaussianEvent,
    statistics: GaussianEvent | None,
    delta: float,
    stand_ins: int,
) -> Curve:
    own = training.noise_multiplier
    noises = [own * factor for factor in FACTORS]
    noises = [noise for noise in noises if noise == own or noise >= LEAST_NOISE]
    made = simulate(spec=spec, columns=columns, noise_multipliers=noises)
    points = [
        CurvePoint(
            epsilon=accounting.epsilon(
                compose(_events(training, statistics, factor=noise / own)), delta=delta
            ),
            chosen=noise == own,
            simulated=point,
        )
        for noise, point in zip(noises, made.points, strict=False)
    ]
    return Curve(
        points=tuple(points),
        without_noise=made.points[-1],
        simulation=made,
        stand_ins=stand_ins,
        is_linear=not spec.hidden,
    )


def _events(
    training: PoissonGaussianEvent, statistics: GaussianEvent | None, *, factor: float
) -> list[Event]:
    """The run's events, all noise times `factor`."""
    run = replace(training, noise_multiplier=training.noise_multiplier * factor)
    if statistics is None:
        return [run]
    noise = max(LEAST_DEVIATION, statistics.noise_multiplier * factor)
    return [replace(statistics, noise_multiplier=noise), run]


def _column(column: InputColumn) -> ColumnSpec:
    """The declared domain, or a stand-in for one that DP statistics are to find."""
    if column.found == "declared":
        return ColumnSpec(
            name=column.name,
            kind=column.kind,
            lower=column.lower,
            upper=column.upper,
            categories=column.categories,
        )
    if column.kind == "category":
        names = tuple(f"value {k}" for k in range(STAND_IN_CATEGORIES))
        return ColumnSpec(name=column.name, kind=column.kind, categories=names)
    upper = 365.0 if column.kind == "date" else 1.0
    return ColumnSpec(name=column.name, kind=column.kind, lower=0.0, upper=upper)
