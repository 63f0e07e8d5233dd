"""The encoder of a run: domains that were declared, and those that statistics find."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from privacyhub.engines.dp.orders import UNITS_PER_ONE
from privacyhub.engines.prepare.encoding import ColumnSpec, Encoder, Source
from privacyhub.engines.prepare.statistics import dp_column_statistics
from privacyhub.training.mechanisms import LEAST_DEVIATION, READINGS
from privacyhub.training.plans import Plan
from privacyhub.training.recipe_spec import RecipeSpec, target_spec

_NAMES_DELTA = 1e-6  # of a run without privacy, whose domains nothing protects


def encoder_of(*, recipe: RecipeSpec, plan: Plan, frame: pl.DataFrame) -> Encoder:
    """The encoder. The caller has paid for the plan's statistics.

    frame: the training rows, at most m of a unit.
    """
    found: dict[str, ColumnSpec] = {}
    if recipe.searched:
        noise, delta = LEAST_DEVIATION, _NAMES_DELTA
        if plan.statistics is not None:
            noise = plan.statistics.noise_multiplier
            delta = delta_of_reading(plan) or delta
        told = dp_column_statistics(
            frame,
            recipe.searched,
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


def delta_of_reading(plan: Plan) -> float:
    """The additive delta of one reading of the columns; 0 where no name is read."""
    charged = delta_units_of_reading(plan) / UNITS_PER_ONE
    return min(plan.additive_delta / READINGS, charged)


def delta_units_of_reading(plan: Plan) -> int:
    """What the ledger is charged for it, in units of 1e-15."""
    return max(1, plan.delta_units // READINGS) if plan.delta_units else 0
