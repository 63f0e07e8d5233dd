"""Checkpoints of a training run: weights, optimizer and step. Never a seed.

A resumed run draws fresh noise; the steps that it replays are charged again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

_NAME = "checkpoint.safetensors"
_STATE = ("weights", "first_moment", "second_moment", "average")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after `step` executed steps; each array is [parameters]."""

    step: int
    weights: NDArray[np.float32]
    first_moment: NDArray[np.float32]
    second_moment: NDArray[np.float32]
    average: NDArray[np.float32]


def write_checkpoint(checkpoint: Checkpoint, *, folder: Path) -> None:
    """Replace the folder's checkpoint in one atomic rename."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: getattr(checkpoint, name) for name in _STATE}
    tensors["step"] = np.array([checkpoint.step], dtype=np.int64)
    partial = folder / f"{_NAME}.partial"
    save_file(tensors, partial)
    partial.replace(folder / _NAME)


def read_checkpoint(folder: Path, *, parameters: int) -> Checkpoint | None:
    """The folder's checkpoint, or None. Raises ValueError for another network's."""
    path = folder / _NAME
    if not path.exists():
        return None
    tensors = load_file(path)
    if any(tensors[name].shape != (parameters,) for name in _STATE):
        raise ValueError("The checkpoint belongs to another network.")
    return Checkpoint(
        step=int(tensors["step"][0]), **{name: tensors[name] for name in _STATE}
    )
