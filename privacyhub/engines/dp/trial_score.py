"""The private score by which a search over settings chooses among its trials.

Each unit adds its quality, a number from 0 to 1, so that one unit more or less moves
the sum by at most 1; integer Gaussian noise makes it private. The quality is a proper
score: one minus the squared error of the probabilities (Brier), or of a regression's
number in shares of its range. A row that is not finite has quality 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.count_noise import noisy_counts
from privacyhub.engines.dp.inference import predict_encoded
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.prepare.encoding import EncodedTable

_GRID = 1000  # a unit's quality is counted in thousandths


def noisy_score(
    model: TrainedModel, table: EncodedTable, *, noise_multiplier: float
) -> float:
    """The noisy sum of the units' qualities; higher is better.

    table: rows with their targets; `units` as `encoding.EncodedTable` has them. What
    it costs is a Gaussian event with this noise multiplier.
    """
    if table.target is None:
        raise ValueError("The table has no encoded target.")
    quality = _quality(predict_encoded(model, table), table.target, model.spec.task)
    whole = np.rint(_GRID * _mean_of_units(quality, table.units)).astype(np.int64)
    total = noisy_counts([int(whole.sum())], deviation=_GRID * noise_multiplier)
    return float(total[0]) / _GRID


def _quality(
    scores: NDArray[np.float64], target: NDArray[np.float32], task: str
) -> NDArray[np.float64]:
    """Each row's quality in [0, 1]."""
    truth = np.asarray(target, dtype=np.float64)
    if task == "multiclass":
        codes = np.where(np.isfinite(truth), truth, 0).astype(np.int64)
        hits = np.eye(scores.shape[1])[np.clip(codes, 0, scores.shape[1] - 1)]
        error = ((scores - hits) ** 2).sum(axis=1) / 2
    elif task == "regression":
        error = ((np.clip(scores, -1, 1) - truth) / 2) ** 2
    else:
        error = (scores - truth) ** 2
    quality = np.clip(1 - error, 0, 1)
    return np.where(np.isfinite(quality) & np.isfinite(truth), quality, 0)


def _mean_of_units(
    quality: NDArray[np.float64], units: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """A unit's quality is the mean of its rows'; -1 is a unit of its own."""
    if units is None:
        return quality
    alone = quality[units < 0]
    _, codes = np.unique(units[units >= 0], return_inverse=True)
    sums = np.bincount(codes, weights=quality[units >= 0])
    return np.concatenate([alone, sums / np.maximum(np.bincount(codes), 1)])
