"""Predictions of a trained model with numpy alone: no TensorFlow, no stored code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.prepare.encoding import EncodedTable

_CHUNK = 65_536


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predictions of some rows.

    scores: float64 [rows] for binary (probability of the positive class) and
        regression (in the target's own unit); [rows, classes] for multi-class.
    labels: the likeliest class's name a row; None for a regression.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.str_] | None


def predict(model: TrainedModel, frame: pl.DataFrame) -> Prediction:
    """Encode and score rows. Raises ValueError naming a missing column."""
    if model.encoder is None:
        raise ValueError("The model has no encoder: use predict_encoded.")
    scores = predict_encoded(model, model.encoder.encode(frame))
    if model.spec.task == "regression":
        return Prediction(scores=model.encoder.target_numbers(scores), labels=None)
    target = model.encoder.target
    if target is None:
        raise ValueError("The model's encoder has no target.")
    places = (
        (scores >= 0.5).astype(int)
        if model.spec.task == "binary"
        else scores.argmax(axis=1)
    )
    return Prediction(scores=scores, labels=np.asarray(target.classes)[places])


def predict_encoded(model: TrainedModel, table: EncodedTable) -> NDArray[np.float64]:
    """Probabilities ([rows], or [rows, classes]), or a regression's scaled numbers."""
    parts = [
        _forward(
            model,
            table.features[start : start + _CHUNK],
            table.ids[start : start + _CHUNK],
        )
        for start in range(0, table.rows, _CHUNK)
    ]
    if parts:
        logits = np.concatenate(parts)
    else:
        logits = np.zeros((0, model.architecture.outputs))
    if model.spec.task == "binary":
        # Stable for large logits of either sign.
        return np.exp(-np.logaddexp(0, -logits[:, 0]))
    if model.spec.task == "multiclass":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return logits[:, 0]


def _forward(
    model: TrainedModel, features: NDArray[np.float32], ids: NDArray[np.int32]
) -> NDArray[np.float64]:
    architecture, weights = model.architecture, model.weights
    looked_up = [
        weights[f"embedding_{k}/table"][ids[:, k]]
        for k in range(len(architecture.embeddings))
    ]
    values = np.concatenate([features, *looked_up], axis=1)
    for layer in range(len(architecture.hidden) + 1):
        values = values @ weights[f"dense_{layer}/kernel"]
        values += weights[f"dense_{layer}/bias"]
        if layer < len(architecture.hidden):
            values = (
                np.tanh(values)
                if architecture.activation == "tanh"
                else np.maximum(values, 0)
            )
    return values.astype(np.float64)
