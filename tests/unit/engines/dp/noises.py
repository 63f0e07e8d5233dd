"""Sources of noise that only tests may pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.noise import NoiseSource, entropy_noise


def silent(values: NDArray[np.float32]) -> None:
    """No noise at all."""
    values.fill(0)


def halved() -> NoiseSource:
    """Half of what was promised."""
    fill_full = entropy_noise()

    def fill(values: NDArray[np.float32]) -> None:
        fill_full(values)
        values *= 0.5

    return fill


def seeded_laplace(seed: int) -> Any:
    """In the place of `laplace_counts`: the same noise in every run."""
    generator = np.random.default_rng(seed)

    def counts(exact: Any, *, scale: float) -> NDArray[np.float64]:
        noise = generator.laplace(0, scale, len(exact))
        return np.asarray(exact, dtype=np.float64) + noise

    return counts


def seeded_gaussian(seed: int) -> Any:
    """In the place of `noisy_counts`: the same noise in every run."""
    generator = np.random.default_rng(seed)

    def counts(exact: Any, *, deviation: float) -> NDArray[np.int64]:
        noise = np.rint(generator.normal(0, deviation, len(exact)))
        return np.asarray(exact, dtype=np.int64) + noise.astype(np.int64)

    return counts
