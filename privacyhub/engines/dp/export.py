"""Exports a trained model as a TensorFlow SavedModel, checked to predict the same.

The SavedModel takes encoded rows (features and embedding places); the encoder stays in
the model file. ONNX needs tf2onnx, which this environment does not hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from privacyhub.engines.dp.clipping import forward
from privacyhub.engines.dp.inference import predict_encoded
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.prepare.encoding import EncodedTable

TOLERANCE = 1e-5
_CHECKED_ROWS = 256


def export_saved_model(model: TrainedModel, folder: Path) -> None:
    """Write a SavedModel with the signature `serving_default(features, ids)`.

    Raises ValueError when it does not predict what `inference` predicts, to 1e-5, on
    made-up rows.
    """
    architecture = model.architecture
    module = tf.Module()
    module.weights = {
        name.replace("/", "_"): tf.Variable(value, trainable=False)
        for name, value in model.weights.items()
    }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, architecture.features], tf.float32, "features"),
            tf.TensorSpec([None, len(architecture.embeddings)], tf.int32, "ids"),
        ]
    )
    def serve(features: Any, ids: Any) -> dict[str, Any]:
        weights = {
            name: module.weights[name.replace("/", "_")] for name in architecture.shapes
        }
        _, logits = forward(weights, architecture, features=features, ids=ids)
        if model.spec.task == "binary":
            return {"scores": tf.sigmoid(logits)[:, 0]}
        if model.spec.task == "multiclass":
            return {"scores": tf.nn.softmax(logits)}
        return {"scores": logits[:, 0]}

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures=serve)
    _require_same_predictions(model, folder)


def _require_same_predictions(model: TrainedModel, folder: Path) -> None:
    generator = np.random.default_rng(0)
    architecture = model.architecture
    rows = EncodedTable(
        features=generator.uniform(
            -1, 1, size=(_CHECKED_ROWS, architecture.features)
        ).astype(np.float32),
        ids=np.stack(
            [
                generator.integers(e.size, size=_CHECKED_ROWS)
                for e in architecture.embeddings
            ]
            or [np.zeros(_CHECKED_ROWS, dtype=np.int64)],
            axis=1,
        ).astype(np.int32)[:, : len(architecture.embeddings)],
    )
    served = (
        tf.saved_model.load(str(folder))
        .signatures["serving_default"](
            features=tf.constant(rows.features), ids=tf.constant(rows.ids)
        )["scores"]
        .numpy()
    )
    if np.abs(served - predict_encoded(model, rows)).max() > TOLERANCE:
        raise ValueError("The exported model does not predict what the model predicts.")
