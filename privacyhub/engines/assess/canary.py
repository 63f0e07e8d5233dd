"""A canary audit: how much privacy a build of the trainer loses at least.

Canaries are made-up units whose clipped gradient is as long as the clip norm allows and
points along a feature of their own, always in the same direction: the worst case that
the guarantee is about. A fair coin decides for each whether it takes part. After
training, its feature's weight tells in from out as well as anything could: out, it is
noise alone; in, it is shifted. Thousands of canaries in one run are as many trials,
independent because each has its own coordinate of the noise (one-run auditing:
Steinke, Nasr and Jagielski, arXiv 2305.08846).

The error rates of the best test bound the loss from below. Under a Gaussian trade-off
(exact without sampling, a close limit for many sampled steps) they bound mu, and mu an
epsilon (Nasr et al., arXiv 2302.07956). A bound above the claimed epsilon proves the
build wrong; a bound below it proves nothing more than that.

Only made-up data is used, so an audit costs no privacy.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from privacyhub.engines.dp.accounting import epsilon
from privacyhub.engines.dp.events import GaussianEvent
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import EncodedTable, bare_table

CANARIES = 3000
CONFIDENCE = 0.999
# Far beyond what the weights reach: the gradient never turns.
_TARGET = 1e6

# Trains on (table, spec, noise multiplier).
Trainer = Callable[[EncodedTable, TrainSpec, float], TrainedModel]


@dataclass(frozen=True, kw_only=True)
class CanaryAudit:
    """What an audit found.

    epsilon_lower: audited lower bound at `delta`, at this confidence; claimed_epsilon:
    the accountant's for the same steps. consistent: whether the claim survives.
    """

    epsilon_lower: float
    claimed_epsilon: float
    delta: float
    confidence: float
    canaries: int
    false_positive_rate: float
    false_negative_rate: float
    consistent: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def canary_audit(
    trainer: Trainer,
    *,
    noise_multiplier: float,
    steps: int,
    delta: float,
    sampling_probability: float = 1.0,
    canaries: int = CANARIES,
    confidence: float = CONFIDENCE,
) -> CanaryAudit:
    """Audit `steps` steps of a trainer at this noise and sampling probability.

    Without sampling (probability 1) the bound is nearly tight.
    """
    if canaries < 100:
        raise ValueError("An audit needs at least 100 canaries.")
    included = np.array([secrets.randbits(1) for _ in range(canaries)], dtype=bool)
    spec = TrainSpec(
        task="regression",
        units=canaries,
        expected_batch=max(1, round(sampling_probability * canaries)),
        epochs=steps * sampling_probability,
        optimizer="sgd",
        momentum=0.0,
        learning_rate=1.0,
        clip_norm=1.0,
    )
    # Large against the bias's constant input of 1, so that the gradient lies along the
    # canary's own feature; small enough that even unclipped steps would not diverge.
    size = max(10.0, math.sqrt(spec.expected_batch) / 2)
    table = canary_table(included, size=size)
    model = trainer(table, spec, noise_multiplier)
    if model.event is None:
        raise ValueError("The trainer claims no guarantee to audit.")
    weights = model.weights["dense_0/kernel"][:, 0].astype(np.float64)
    # A diverged weight is as telling as a large one.
    weights = np.nan_to_num(weights, nan=np.inf)
    fpr, fnr, mu = gaussian_lower_bound(
        inside=weights[included], outside=weights[~included], confidence=confidence
    )
    lower = (
        epsilon(GaussianEvent(noise_multiplier=1 / mu), delta=delta) if mu > 0 else 0.0
    )
    claimed = epsilon(model.event, delta=delta)
    return CanaryAudit(
        epsilon_lower=lower,
        claimed_epsilon=claimed,
        delta=delta,
        confidence=confidence,
        canaries=canaries,
        false_positive_rate=fpr,
        false_negative_rate=fnr,
        consistent=lower <= claimed,
    )


def canary_table(included: NDArray[np.bool_], *, size: float) -> EncodedTable:
    """One row a canary that takes part; canary j has `size` in feature j alone."""
    present = np.flatnonzero(included)
    features = np.zeros((len(present), len(included)), dtype=np.float32)
    features[np.arange(len(present)), present] = size
    return bare_table(features, np.full(len(present), _TARGET))


def gaussian_lower_bound(
    *,
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    confidence: float,
) -> tuple[float, float, float]:
    """Error rates of a threshold test, and the least mu that explains them.

    The threshold is the middle of the medians of one half of the scores; the rates are
    counted on the other half. mu >= Phi^-1(1 - FPR) - Phi^-1(FNR), with both rates at
    their upper Clopper-Pearson bounds, each of half the error probability.
    """
    in_half, in_rest = inside[::2], inside[1::2]
    out_half, out_rest = outside[::2], outside[1::2]
    if min(len(in_half), len(in_rest), len(out_half), len(out_rest)) == 0:
        raise ValueError("An audit needs canaries both in and out.")
    threshold = float((np.median(in_half) + np.median(out_half)) / 2)
    if math.isnan(threshold) or math.isinf(threshold):
        threshold = float(np.finfo(np.float64).max)
    false_positives = int((out_rest >= threshold).sum())
    false_negatives = int((in_rest < threshold).sum())
    error = (1 - confidence) / 2
    fpr_high = _upper(false_positives, len(out_rest), error)
    fnr_high = _upper(false_negatives, len(in_rest), error)
    normal = NormalDist()
    mu = normal.inv_cdf(1 - fpr_high) - normal.inv_cdf(fnr_high)
    return (
        false_positives / len(out_rest),
        false_negatives / len(in_rest),
        max(0.0, mu),
    )


def _upper(successes: int, trials: int, error: float) -> float:
    """Upper Clopper-Pearson bound of a rate, kept inside (0, 1)."""
    if successes >= trials:
        return 1 - 1e-12
    return float(beta.ppf(1 - error, successes + 1, trials - successes))
