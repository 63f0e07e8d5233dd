"""Exports a trained model as an ONNX file, checked to predict the same.

The graph is written node by node from the architecture: it takes encoded rows, as
`features` [rows, features] float32 and `ids` [rows, embedded columns] int32, and gives
`scores` as `inference.predict_encoded` does. No code travels in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from privacyhub.engines.dp.export_check import largest_difference, made_up_rows
from privacyhub.engines.dp.model import TrainedModel

OPSET = 17
IR_VERSION = 8  # what runtimes read since 2021
_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu"}


def export_onnx(
    model: TrainedModel, path: Path, *, metadata: Mapping[str, str] | None = None
) -> float:
    """Write an ONNX file and return the largest difference from the model.

    metadata: text that travels in the file. Raises ValueError when it does not
    predict what `inference` predicts, to 1e-5, on made-up rows.
    """
    made = helper.make_model(
        _graph(model),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="PrivacyHub",
    )
    helper.set_model_props(made, dict(metadata or {}))
    onnx.checker.check_model(made)
    content = made.SerializeToString()
    rows = made_up_rows(model.architecture)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (served,) = session.run(["scores"], {"features": rows.features, "ids": rows.ids})
    difference = largest_difference(model, rows, served=served)
    path.write_bytes(content)
    return difference


def _graph(model: TrainedModel) -> Any:
    architecture, task = model.architecture, model.spec.task
    constants: list[Any] = []
    nodes: list[Any] = []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    parts = ["features"]
    for k in range(len(architecture.embeddings)):
        table = constant(f"embedding_{k}/table", model.weights[f"embedding_{k}/table"])
        place = constant(f"embedding_{k}/column", np.array(k, dtype=np.int64))
        ids = node("Gather", ["ids", place], f"embedding_{k}/ids", axis=1)
        parts.append(node("Gather", [table, ids], f"embedding_{k}/rows", axis=0))
    values = node("Concat", parts, "inputs", axis=1)
    for layer in range(len(architecture.hidden) + 1):
        name = f"dense_{layer}"
        kernel = constant(f"{name}/kernel", model.weights[f"{name}/kernel"])
        bias = constant(f"{name}/bias", model.weights[f"{name}/bias"])
        values = node("MatMul", [values, kernel], f"{name}/product")
        values = node("Add", [values, bias], f"{name}/sum")
        if layer < len(architecture.hidden):
            kind = _ACTIVATIONS[architecture.activation]
            values = node(kind, [values], f"{name}/activation")
    shape: list[Any] = ["rows"]
    if task == "multiclass":
        node("Softmax", [values], "scores", axis=1)
        shape.append(architecture.outputs)
    else:
        if task == "binary":
            values = node("Sigmoid", [values], "probability")
        axes = constant("last_axis", np.array([1], dtype=np.int64))
        node("Squeeze", [values, axes], "scores")
    return helper.make_graph(
        nodes,
        "model",
        [
            helper.make_tensor_value_info(
                "features", TensorProto.FLOAT, ["rows", architecture.features]
            ),
            helper.make_tensor_value_info(
                "ids", TensorProto.INT32, ["rows", len(architecture.embeddings)]
            ),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
        initializer=constants,
    )
