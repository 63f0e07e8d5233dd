"""Whether an exported model predicts what the model predicts, on made-up rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.architecture import Architecture
from privacyhub.engines.dp.inference import predict_encoded
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.prepare.encoding import EncodedTable

TOLERANCE = 1e-5
CHECKED_ROWS = 256


def made_up_rows(architecture: Architecture) -> EncodedTable:
    """Encoded rows with every feature inside its bounds; the same at each call."""
    generator = np.random.default_rng(0)
    features = generator.uniform(-1, 1, size=(CHECKED_ROWS, architecture.features))
    ids = np.zeros((CHECKED_ROWS, len(architecture.embeddings)), dtype=np.int32)
    for k, embedding in enumerate(architecture.embeddings):
        ids[:, k] = generator.integers(embedding.size, size=CHECKED_ROWS)
    return EncodedTable(features=features.astype(np.float32), ids=ids)


def largest_difference(
    model: TrainedModel, rows: EncodedTable, *, served: NDArray[np.float32]
) -> float:
    """Between `served` (scores of these rows) and the model's own predictions.

    A regression's scores have no bound, so they are compared relative to what is above
    1. Raises ValueError where the difference is above `TOLERANCE`, or no number.
    """
    scores = predict_encoded(model, rows)
    differences = np.abs(served - scores)
    if model.spec.task == "regression":
        differences = differences / np.maximum(1, np.abs(scores))
    difference = float(differences.max())
    if not difference <= TOLERANCE:
        raise ValueError("The exported model does not predict what the model predicts.")
    return difference
