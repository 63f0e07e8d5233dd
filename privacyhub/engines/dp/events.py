"""What a differentially private read did, in a form that can be stored and priced.

Each event maps to one of `dp_accounting`'s (see `accountants`) and to JSON. Noise
multipliers are standard deviations (Laplace: scales) divided by the sensitivity.

>>> event = PoissonGaussianEvent(
...     sampling_probability=0.01, noise_multiplier=1.0, steps=100
... )
>>> event_from_dict(event.to_dict()) == event
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"{name} must be a positive finite number.")


def _require_count(**values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} must be a whole number of at least 0.")


@dataclass(frozen=True, kw_only=True)
class PoissonGaussianEvent:
    """`steps` noisy sums, each over an independent Poisson sample of the units."""

    kind: ClassVar[str] = "poisson_gaussian"
    sampling_probability: float
    noise_multiplier: float
    steps: int

    def __post_init__(self) -> None:
        _require_positive(
            sampling_probability=self.sampling_probability,
            noise_multiplier=self.noise_multiplier,
        )
        if self.sampling_probability > 1:
            raise ValueError("sampling_probability must be at most 1.")
        _require_count(steps=self.steps)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "sampling_probability": self.sampling_probability,
            "noise_multiplier": self.noise_multiplier,
            "steps": self.steps,
        }


@dataclass(frozen=True, kw_only=True)
class GaussianEvent:
    """`count` Gaussian mechanisms over all units."""

    kind: ClassVar[str] = "gaussian"
    noise_multiplier: float
    count: int = 1

    def __post_init__(self) -> None:
        _require_positive(noise_multiplier=self.noise_multiplier)
        _require_count(count=self.count)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "noise_multiplier": self.noise_multiplier,
            "count": self.count,
        }


@dataclass(frozen=True, kw_only=True)
class LaplaceEvent:
    """`count` Laplace mechanisms over all units."""

    kind: ClassVar[str] = "laplace"
    noise_multiplier: float
    count: int = 1

    def __post_init__(self) -> None:
        _require_positive(noise_multiplier=self.noise_multiplier)
        _require_count(count=self.count)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "noise_multiplier": self.noise_multiplier,
            "count": self.count,
        }


@dataclass(frozen=True, kw_only=True)
class SelectionEvent:
    """A random number of trials of `event`, of which the best is kept.

    The number is drawn before the first trial and never shown. `shape` infinite:
    Poisson; 1: geometric (Papernot and Steinke, arXiv 2110.03620). Only the Rényi
    accountant prices it.
    """

    kind: ClassVar[str] = "selection"
    event: Event
    mean_trials: float
    shape: float = math.inf

    def __post_init__(self) -> None:
        _require_positive(mean_trials=self.mean_trials)
        if not (self.shape == math.inf or self.shape == 1):
            raise ValueError("shape must be infinite (Poisson) or 1 (geometric).")
        if self.shape == 1 and self.mean_trials <= 1:
            raise ValueError("A geometric number of trials has a mean above 1.")

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "event": self.event.to_dict(),
            "mean_trials": self.mean_trials,
            "trials": "poisson" if self.shape == math.inf else "geometric",
        }


@dataclass(frozen=True, kw_only=True)
class ComposedEvent:
    """Events that touched the same units, one after another."""

    kind: ClassVar[str] = "composed"
    events: tuple[Event, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "events": [e.to_dict() for e in self.events]}


Event = (
    PoissonGaussianEvent | GaussianEvent | LaplaceEvent | SelectionEvent | ComposedEvent
)


def compose(events: Sequence[Event]) -> Event:
    """One event for several; a single one is returned as it is."""
    if len(events) == 1:
        return events[0]
    return ComposedEvent(events=tuple(events))


def event_from_dict(stored: Mapping[str, Any]) -> Event:
    """Read an event back. Raises ValueError for an unknown kind or a bad value."""
    kind = stored.get("kind")
    try:
        if kind == PoissonGaussianEvent.kind:
            return PoissonGaussianEvent(
                sampling_probability=float(stored["sampling_probability"]),
                noise_multiplier=float(stored["noise_multiplier"]),
                steps=int(stored["steps"]),
            )
        if kind in (GaussianEvent.kind, LaplaceEvent.kind):
            simple = GaussianEvent if kind == GaussianEvent.kind else LaplaceEvent
            return simple(
                noise_multiplier=float(stored["noise_multiplier"]),
                count=int(stored["count"]),
            )
        if kind == SelectionEvent.kind:
            return SelectionEvent(
                event=event_from_dict(stored["event"]),
                mean_trials=float(stored["mean_trials"]),
                shape={"poisson": math.inf, "geometric": 1.0}[stored["trials"]],
            )
        if kind == ComposedEvent.kind:
            return ComposedEvent(
                events=tuple(event_from_dict(e) for e in stored["events"])
            )
    except (KeyError, TypeError) as error:
        raise ValueError(f"The stored {kind} event is incomplete.") from error
    raise ValueError("The stored event is of an unknown kind.")
