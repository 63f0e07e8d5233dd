"""Exports a trained model as a TensorFlow SavedModel, checked to predict the same.

The SavedModel takes encoded rows (features and embedding places); the encoder stays in
the model file. See `onnx_export` for ONNX.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from privacyhub.engines.dp.clipping import forward, layers_of, network_of
from privacyhub.engines.dp.export_check import largest_difference, made_up_rows
from privacyhub.engines.dp.model import TrainedModel


def export_saved_model(model: TrainedModel, folder: Path) -> float:
    """Write a SavedModel with the signature `serving_default(features, ids)`.

    Returns the largest difference between its predictions and the model's. Raises
    ValueError when it does not predict what `inference` predicts, to 1e-5, on
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
        vector = tf.concat(
            [
                tf.reshape(module.weights[name.replace("/", "_")], [-1])
                for name in architecture.shapes
            ],
            axis=0,
        )
        network = network_of(layers_of(vector, architecture), architecture)
        _, logits = forward(network, architecture, features=features, ids=ids)
        if model.spec.task == "binary":
            return {"scores": tf.sigmoid(logits)[:, 0]}
        if model.spec.task == "multiclass":
            return {"scores": tf.nn.softmax(logits)}
        return {"scores": logits[:, 0]}

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures=serve)
    rows = made_up_rows(architecture)
    served = tf.saved_model.load(str(folder)).signatures["serving_default"](
        features=tf.constant(rows.features), ids=tf.constant(rows.ids)
    )
    return largest_difference(model, rows, served=served["scores"].numpy())
