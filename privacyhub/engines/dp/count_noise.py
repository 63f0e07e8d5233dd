"""Noise on vectors of counts, by OpenDP: integer Gaussian and Laplace.

OpenDP samples the discrete Gaussian exactly (Canonne, Kamath and Steinke, arXiv
2004.00010): no floating-point attack applies to released counts. Its Rényi loss is at
most the continuous one's at the same standard deviation; at 2 or more its privacy loss
distribution differs from the continuous one's by less than 1e-30. Its Laplace noise on
floating-point numbers is drawn exactly on a grid finer than their last digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import opendp.domains as domains
import opendp.measurements as measurements
import opendp.metrics as metrics
from numpy.typing import NDArray
from opendp.mod import enable_features

MIN_DEVIATION = 2.0

enable_features("contrib")


def noisy_counts(
    counts: NDArray[np.int64] | Sequence[int], *, deviation: float
) -> NDArray[np.int64]:
    """Counts with independent integer Gaussian noise of this standard deviation."""
    if not math.isfinite(deviation) or deviation < MIN_DEVIATION:
        raise ValueError(f"The noise's deviation must be at least {MIN_DEVIATION:g}.")
    mechanism = measurements.make_gaussian(
        domains.vector_domain(domains.atom_domain(T="i64")),
        metrics.l2_distance(T="f64"),
        scale=float(deviation),
    )
    return np.asarray(mechanism([int(count) for count in counts]), dtype=np.int64)


def laplace_counts(
    counts: NDArray[np.int64] | Sequence[int], *, scale: float
) -> NDArray[np.float64]:
    """Counts with independent Laplace noise of this scale."""
    if not math.isfinite(scale) or scale <= 0:
        raise ValueError("The noise's scale must be a positive finite number.")
    mechanism = measurements.make_laplace(
        domains.vector_domain(domains.atom_domain(T="f64", nan=False)),
        metrics.l1_distance(T="f64"),
        scale=float(scale),
    )
    return np.asarray(mechanism([float(count) for count in counts]), dtype=np.float64)
