from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from privacyhub.engines.dp import export_check  # noqa: E402
from privacyhub.engines.dp.export import export_saved_model  # noqa: E402
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
