"""What every contender of the speed benchmark trains: read in both environments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS, FEATURES, CLASSES = 32_768, 100, 2
HIDDEN = (128, 64)  # with ReLU between
LEARNING_RATE = 1e-3  # of Adam
CLIP_NORM, NOISE_MULTIPLIER = 1.0, 1.0


def rows() -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Features [rows, features] and whether each row is of the second class [rows]."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    return features, features[:, :10].sum(axis=1) > 0
