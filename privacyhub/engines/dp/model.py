"""A trained model, and the table that it was trained on, as plain arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.architecture import Architecture
from privacyhub.engines.dp.events import Event
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import Encoder


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What training returns and a model file holds.

    weights: named float32 arrays as the architecture lists them.
    encoder: turns a table into the network's input; None for bare arrays.
    event: what the executed steps cost; None without privacy.
    steps_run: executed steps; fewer than the spec's when stopped early.
    losses: mean loss a step, only of a run without privacy; one that diverged is not
        finite there.
    guarantee: the JSON object that `guarantee.Guarantee.to_dict` makes.
    """

    architecture: Architecture
    weights: dict[str, NDArray[np.float32]]
    spec: TrainSpec
    encoder: Encoder | None = None
    event: Event | None = None
    steps_run: int = 0
    losses: list[float] = field(default_factory=list)
    guarantee: dict[str, Any] | None = None


def known_losses(losses: Sequence[float]) -> list[float | None]:
    """Losses as JSON can hold them: None where one is not finite."""
    return [loss if math.isfinite(loss) else None for loss in losses]
