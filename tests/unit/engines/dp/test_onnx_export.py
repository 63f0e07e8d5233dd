from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from privacyhub.engines.dp.export_check import TOLERANCE, largest_difference
from privacyhub.engines.dp.inference import predict_encoded
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.dp.onnx_export import export_onnx
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import EncodedTable

ROWS = 40


def made(task: str, *, hidden=(6, 4), activation="tanh", embedded=(70, 9)):
    """A model with random weights, and rows for it."""
    spec = TrainSpec(
        task=task,
        units=100,
        expected_batch=10,
        epochs=1,
        classes=3 if task == "multiclass" else 2,
        hidden=hidden,
        activation=activation,
    )
    architecture = spec.architecture(features=5, category_sizes=embedded)
    generator = np.random.default_rng(3)
    vector = generator.normal(size=architecture.parameters).astype(np.float32)
    rows = EncodedTable(
        features=generator.normal(size=(ROWS, 5)).astype(np.float32),
        ids=np.stack(
            [generator.integers(size, size=ROWS) for size in embedded]
            or [np.zeros(ROWS)],
            axis=1,
        ).astype(np.int32)[:, : len(embedded)],
    )
    weights = architecture.unpack(vector)
    return TrainedModel(architecture=architecture, weights=weights, spec=spec), rows


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"hidden": (), "embedded": ()},
        {"hidden": (3,), "activation": "relu", "embedded": (70,)},
    ],
)
def test_onnx_predicts_the_same(task: str, shape, tmp_path: Path) -> None:
    model, rows = made(task, **shape)
    path = tmp_path / "model.onnx"
    assert 0 <= export_onnx(model, path) <= TOLERANCE
    session = onnxruntime.InferenceSession(str(path))
    (served,) = session.run(["scores"], {"features": rows.features, "ids": rows.ids})
    assert np.abs(served - predict_encoded(model, rows)).max() <= TOLERANCE


def test_metadata_travels_in_the_file(tmp_path: Path) -> None:
    model, _ = made("binary")
    told = json.dumps({"epsilon": "1"})
    export_onnx(model, tmp_path / "model.onnx", metadata={"guarantee": told})
    read = onnx.load(tmp_path / "model.onnx")
    assert {one.key: one.value for one in read.metadata_props} == {"guarantee": told}


def test_file_that_predicts_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = made("binary")
    monkeypatch.setattr(
        "privacyhub.engines.dp.export_check.predict_encoded",
        lambda model, table: np.full(table.rows, 0.5),
    )
    with pytest.raises(ValueError, match="does not predict"):
        export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_prediction_that_is_no_number_differs() -> None:
    model, rows = made("binary")
    spoilt = {name: w.copy() for name, w in model.weights.items()}
    spoilt["dense_0/bias"][0] = np.nan
    served = predict_encoded(model, rows).astype(np.float32)
    refused = pytest.raises(ValueError, match="does not predict")
    with np.errstate(invalid="ignore"), refused:
        largest_difference(replace(model, weights=spoilt), rows, served=served)
