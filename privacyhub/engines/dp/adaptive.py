"""A clip norm that follows a quantile of the gradient norms, at no further price.

Each step releases two noisy sums: of the gradients, clipped to C, and of 1/2 for each
unit whose gradient is within C and -1/2 for each other. In deviations of their noise,
sigma_delta * C and sigma_b, one unit moves them by at most 1 / sigma_delta and
1 / (2 sigma_b). With `split` the two together are at most 1 / z long: both releases
cost what one Gaussian sum of noise multiplier z costs. The next C is computed from what
was released alone (Andrew et al., arXiv 1905.03871, theorem 1 and algorithm 1).
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

from privacyhub.engines.dp.spec import TrainSpec

# The paper's, with which C can change tenfold within some twenty steps.
LEARNING_RATE = 0.2
COUNT_SHARE = 1 / 20  # of the expected batch: the deviation of the count's noise
# How far C may go from where it started: beyond that, 32-bit numbers would end.
MOST_CHANGE = 2.0**20


class Split(NamedTuple):
    """Noise of the two sums of a step.

    gradients: deviation of the noise on the gradients, in units of C (sigma_delta).
    counts: deviation of the noise on the sum of plus and minus one half (sigma_b).
    """

    gradients: float
    counts: float


def split(*, noise_multiplier: float, expected_batch: float) -> Split:
    """The noise with which both sums cost as much as one of this noise multiplier.

    Raises ValueError where a number is not positive and finite.

    >>> split(noise_multiplier=1.0, expected_batch=200)
    Split(gradients=1.0012523486435176, counts=10.0)
    """
    for value in (noise_multiplier, expected_batch):
        if not math.isfinite(value) or value <= 0:
            raise ValueError(
                "An adaptive clip norm needs a positive noise multiplier and batch."
            )
    # At least z, so that what is left for the gradients is never less than 3/4.
    counts = max(expected_batch * COUNT_SHARE, noise_multiplier)
    left = 1 - (noise_multiplier / (2 * counts)) ** 2
    return Split(gradients=noise_multiplier / math.sqrt(left), counts=counts)


def next_clip_norm(
    clip_norm: Any, *, noisy_count: Any, spec: TrainSpec, xp: ModuleType
) -> Any:
    """The clip norm of the next step, from a step's released count.

    xp: numpy or tensorflow, whichever made the other arrays.
    """
    assert spec.clip_quantile is not None  # noqa: S101 - the caller asked
    within = noisy_count / spec.expected_batch + 0.5
    within = xp.minimum(xp.maximum(within, 0.0), 1.0)
    moved = clip_norm * xp.exp(-LEARNING_RATE * (within - spec.clip_quantile))
    least, most = spec.clip_norm / MOST_CHANGE, spec.clip_norm * MOST_CHANGE
    return xp.minimum(xp.maximum(moved, least), most)
