"""The guarantee of a trained model: everything that a report says about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.accountants import uses_selection
from privacyhub.engines.dp.events import (
    Event,
    GaussianEvent,
    PoissonGaussianEvent,
    SelectionEvent,
    compose,
)
from privacyhub.engines.dp.rdp import epsilon_from_rdp, rdp_vector
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.statistics import delta_of_names

TRAINED_ON_ANONYMIZED = (
    "The model was trained on an anonymized version. Its guarantee protects the rows "
    "of that version, not the people behind the upload: the search that made the "
    "version read their data."
)


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """What a model may reveal about one unit, and what this does not cover.

    epsilon and delta: of everything that the training units paid for: DP statistics
    and training (and, when on other units, nothing else: metrics compose in parallel).
    filter_epsilon: what the ledger's Rényi filter certifies for the same events.
    clip_norm: of the first step. clip_quantile: what it follows; None where it stays.
    clipping: both in words.
    odds: how often an attacker with a 50% prior is right at most, delta aside.
    group_epsilons: epsilon for 2 and 5 units at the same delta; None where unbounded.
    """

    unit: str
    relation: str
    epsilon: float
    delta: float
    filter_epsilon: float
    odds: float
    group_epsilons: dict[str, float | None]
    accountant: str
    sampler: str
    sampling_probability: float
    noise_multiplier: float
    clip_norm: float
    clip_quantile: float | None
    clipping: str
    steps: int
    declared_units: int
    max_rows_per_unit: int
    events: list[dict[str, Any]]
    additive_delta: float
    column_sources: dict[str, str]
    not_covered: list[str]

    def to_dict(self) -> dict[str, Any]:
        return {"schema": 1, **asdict(self)}


def guarantee_of(
    *,
    spec: TrainSpec,
    training: PoissonGaussianEvent,
    delta: float,
    selection: SelectionEvent | None = None,
    also: Sequence[Event] = (),
    additive_delta: float = 0.0,
    unit: str = "record",
    column_sources: Mapping[str, str] | None = None,
    not_covered: Sequence[str] = (),
) -> Guarantee:
    """The guarantee of a run: `training` as executed, `also` paid by the same units.

    selection: of a search over settings, of which `training` is one trial; it is paid
    in the place of `training`.
    delta is the total; `additive_delta` of it goes to category names, the rest to the
    events. Of a group of units both parts grow: as any delta does, or, where `also`
    are the readings that found the names, as their thresholds tell, if that is less.
    """
    accounting.require_delta_below_one_over(delta=delta, units=spec.units)
    event_delta = delta - additive_delta
    if event_delta <= 0:
        raise ValueError("The statistics' additive delta takes the whole delta.")
    paid: Event = selection or training
    event = compose([paid, *also])
    epsilon = accounting.epsilon(event, delta=event_delta)
    groups = {
        str(size): _of_group(
            event,
            also=also,
            delta=delta,
            additive_delta=additive_delta,
            max_rows_per_unit=spec.max_rows_per_unit,
            size=size,
        )
        for size in (2, 5)
    }
    missing = [
        f"Bounds and domain of column {name}."
        for name, source in (column_sources or {}).items()
        if source == "not covered"
    ]
    return Guarantee(
        unit=unit,
        relation="add or remove one unit",
        epsilon=epsilon,
        delta=delta,
        filter_epsilon=epsilon_from_rdp(rdp_vector(event), delta=event_delta),
        odds=accounting.odds(epsilon),
        group_epsilons=groups,
        accountant="RDP" if uses_selection(event) else "PLD",
        sampler="Poisson",
        sampling_probability=training.sampling_probability,
        noise_multiplier=training.noise_multiplier,
        clip_norm=spec.clip_norm,
        clip_quantile=spec.clip_quantile,
        clipping=_clipping(spec),
        steps=training.steps,
        declared_units=spec.units,
        max_rows_per_unit=spec.max_rows_per_unit,
        events=[paid.to_dict(), *(e.to_dict() for e in also)],
        additive_delta=additive_delta,
        column_sources=dict(column_sources or {}),
        not_covered=[*not_covered, *missing],
    )


def _of_group(
    event: Event,
    *,
    also: Sequence[Event],
    delta: float,
    additive_delta: float,
    max_rows_per_unit: int,
    size: int,
) -> float | None:
    """The lesser of two bounds on the epsilon of a group; None where neither holds."""
    found = accounting.group_epsilon(
        event, delta=delta, size=size, additive_delta=additive_delta
    )
    readings = [one for one in also if isinstance(one, GaussianEvent)]
    if additive_delta and readings:
        names = delta_of_names(
            additive_delta=additive_delta,
            readings=readings,
            max_rows_per_unit=max_rows_per_unit,
            size=size,
        )
        if names < delta:
            closer = accounting.group_epsilon(event, delta=delta - names, size=size)
            found = min(found, closer)
    return found if math.isfinite(found) else None


def _clipping(spec: TrainSpec) -> str:
    if spec.clip_quantile is None:
        return f"fixed at {spec.clip_norm:g}"
    return f"adaptive, quantile {spec.clip_quantile:g}, from {spec.clip_norm:g}"
