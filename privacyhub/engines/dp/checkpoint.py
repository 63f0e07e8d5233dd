"""Checkpoints of a training run: its arrays and its step. Never a seed.

A resumed run draws fresh noise; the steps that it replays are charged again. The bytes
are safetensors: reading them runs no code. They hold weights, which are private where
the run is without privacy; whoever keeps them seals them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

_STEP = "step"

OnCheckpoint = Callable[[int, bytes], None]
"""Called with the number of executed steps and the checkpoint's bytes."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after `step` executed steps: named arrays of the loop that made it."""

    step: int
    arrays: Mapping[str, NDArray[np.float32]]

    def to_bytes(self) -> bytes:
        tensors = {name: np.asarray(a, order="C") for name, a in self.arrays.items()}
        return save(tensors | {_STEP: np.array([self.step], dtype=np.int64)})


def read_checkpoint(
    content: bytes, *, shapes: Mapping[str, tuple[int, ...] | None]
) -> Checkpoint:
    """The checkpoint in these bytes.

    shapes: of the arrays that the loop expects; None takes any. Raises ValueError for
    bytes that are no checkpoint, and for another network's.
    """
    try:
        tensors = load(content)
        step = int(tensors.pop(_STEP)[0])
    except (SafetensorError, KeyError, IndexError) as error:
        raise ValueError("These bytes are not a checkpoint.") from error
    fits = tensors.keys() == shapes.keys() and all(
        shape is None or tensors[name].shape == shape for name, shape in shapes.items()
    )
    if not fits:
        raise ValueError("The checkpoint belongs to another network.")
    return Checkpoint(step=step, arrays=tensors)
