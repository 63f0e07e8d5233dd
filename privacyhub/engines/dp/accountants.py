"""The door to Google's `dp_accounting`, which alone computes privacy losses here.

The library takes 1 to 2 s to import, so it is loaded on first use. The neighbouring
relation is always add/remove of one unit.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

from privacyhub.engines.dp.events import (
    ComposedEvent,
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelectionEvent,
)

# Losses are rounded up to multiples of this. The library's 1e-4 takes ten times as
# long and lowers epsilon by less than half a percent.
VALUE_DISCRETIZATION = 1e-3


@lru_cache(maxsize=1)
def _library() -> ModuleType:
    importlib.import_module("dp_accounting.rdp")
    importlib.import_module("dp_accounting.pld")
    return importlib.import_module("dp_accounting")


def dp_event(event: Event) -> Any:
    """The `dp_accounting.DpEvent` of an event."""
    lib = _library()
    if isinstance(event, PoissonGaussianEvent):
        gaussian = lib.GaussianDpEvent(event.noise_multiplier)
        step = (
            gaussian
            if event.sampling_probability == 1
            else lib.PoissonSampledDpEvent(event.sampling_probability, gaussian)
        )
        return lib.SelfComposedDpEvent(step, event.steps)
    if isinstance(event, GaussianEvent):
        return lib.SelfComposedDpEvent(
            lib.GaussianDpEvent(event.noise_multiplier), event.count
        )
    if isinstance(event, LaplaceEvent):
        return lib.SelfComposedDpEvent(
            lib.LaplaceDpEvent(event.noise_multiplier), event.count
        )
    if isinstance(event, SelectionEvent):
        return lib.dp_event.RepeatAndSelectDpEvent(
            dp_event(event.event), event.mean_trials, event.shape
        )
    return lib.ComposedDpEvent([dp_event(e) for e in event.events])


def uses_selection(event: Event) -> bool:
    """Whether an event holds private selection, which only RDP prices."""
    if isinstance(event, ComposedEvent):
        return any(uses_selection(e) for e in event.events)
    return isinstance(event, SelectionEvent)


def rdp(event: Event, orders: Sequence[float]) -> tuple[float, ...]:
    """The Rényi loss of an event at each order (infinite where it has none)."""
    accountant = _library().rdp.RdpAccountant(list(orders))
    accountant.compose(dp_event(event))
    # The library has no public reader of the curve.
    return tuple(float(value) for value in accountant._rdp)


def pld_accountant(event: Event) -> Any:
    """A privacy-loss-distribution accountant that holds one event."""
    accountant = _library().pld.PLDAccountant(
        value_discretization_interval=VALUE_DISCRETIZATION
    )
    accountant.compose(dp_event(event))
    return accountant


def privacy_loss_distribution(event: Event) -> Any:
    """The pessimistic privacy loss distribution of an event."""
    return pld_accountant(event)._pld


def pld_epsilon(event: Event, *, delta: float) -> float:
    return float(pld_accountant(event).get_epsilon(delta))


def rdp_epsilon(event: Event, *, delta: float) -> float:
    """Epsilon by RDP over the library's own orders, for events with selection."""
    accountant = _library().rdp.RdpAccountant()
    accountant.compose(dp_event(event))
    epsilon = float(accountant.get_epsilon(delta))
    return epsilon if math.isfinite(epsilon) else math.inf
