from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from privacyhub.engines.dp import export_check  # noqa: E402
from privacyhub.engines.dp.export import export_saved_model  # noqa: E402
from privacyhub.engines.dp.export_check import (  # noqa: E402
    largest_difference,
    made_up_rows,
)
from privacyhub.engines.dp.inference import predict_encoded  # noqa: E402
from tests.unit.engines.dp.test_artefact import frame, model_of  # noqa: E402


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_saved_model_predicts_the_same(task: str, tmp_path) -> None:
    model = model_of(task)
    export_saved_model(model, tmp_path)
    assert model.encoder is not None
    table = model.encoder.encode(frame())
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    served = loaded(features=tf.constant(table.features), ids=tf.constant(table.ids))
    np.testing.assert_allclose(
        served["scores"].numpy(), predict_encoded(model, table), atol=1e-5
    )


def test_export_that_predicts_otherwise_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        export_check, "predict_encoded", lambda model, table: np.full(table.rows, 7.0)
    )
    with pytest.raises(ValueError, match="does not predict"):
        export_saved_model(model_of(), tmp_path)


def test_large_predictions_of_a_regression_may_differ_in_their_last_digits() -> None:
    model = model_of("regression")
    rows = made_up_rows(model.architecture)
    large = replace(model, weights={n: 1e3 * w for n, w in model.weights.items()})
    scores = predict_encoded(large, rows)
    assert np.abs(scores).max() > 100
    served = (scores * (1 + 5e-6)).astype(np.float32)
    assert np.abs(served - scores).max() > export_check.TOLERANCE
    assert largest_difference(large, rows, served=served) <= export_check.TOLERANCE
    with pytest.raises(ValueError, match="does not predict"):
        largest_difference(large, rows, served=(scores * 1.0001).astype(np.float32))
    small = np.where(np.abs(scores) < 1, scores + 2e-5, scores).astype(np.float32)
    if np.abs(scores).min() < 1:
        with pytest.raises(ValueError, match="does not predict"):
            largest_difference(large, rows, served=small)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_probabilities_may_differ_by_the_tolerance_alone(task: str) -> None:
    model = model_of(task)
    rows = made_up_rows(model.architecture)
    served = predict_encoded(model, rows) + 2e-5
    with pytest.raises(ValueError, match="does not predict"):
        largest_difference(model, rows, served=served.astype(np.float32))
