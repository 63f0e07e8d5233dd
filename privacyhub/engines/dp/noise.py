"""Standard normal noise for training, drawn ahead from operating-system entropy.

Only tests pass another source; no setting, spec or seed of a user reaches it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.sampling import entropy_seeded_generator

# Maps a shape to float32 standard normal values.
NoiseSource = Callable[[tuple[int, int]], NDArray[np.float32]]


def entropy_noise() -> NoiseSource:
    """A fresh source: two of them never give the same values."""
    generator = entropy_seeded_generator()

    def draw(shape: tuple[int, int]) -> NDArray[np.float32]:
        return generator.standard_normal(shape, dtype=np.float32)

    return draw
