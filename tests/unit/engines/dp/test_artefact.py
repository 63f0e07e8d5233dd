from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from privacyhub.engines.dp.artefact import load_model, save_model
from privacyhub.engines.dp.events import PoissonGaussianEvent
from privacyhub.engines.dp.inference import predict, predict_encoded
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import ColumnSpec, Encoder, TargetSpec

FRAME = pl.DataFrame({"age": [20.0, 55.0, None, 90.0], "city": ["A", "B", "?", None]})


def model_of(task: str = "binary") -> TrainedModel:
    target = {
        "binary": TargetSpec(name="y", classes=("no", "yes")),
        "multiclass": TargetSpec(name="y", classes=("a", "b", "c")),
        "regression": TargetSpec(name="y", lower=0.0, upper=200.0),
    }[task]
    many = tuple(f"code {n}" for n in range(70))
    encoder = Encoder(
        [
            ColumnSpec(name="age", kind="number", lower=0, upper=100),
            ColumnSpec(name="city", kind="category", categories=("A", "B")),
            ColumnSpec(name="code", kind="category", categories=many),
        ],
        target=target,
    )
    spec = TrainSpec(
        task=task,
        units=100,
        expected_batch=10,
        epochs=1,
        hidden=(6,),
        classes=3 if task == "multiclass" else 2,
    )
    architecture = spec.architecture(
        features=len(encoder.feature_names), category_sizes=encoder.category_sizes
    )
    vector = np.random.default_rng(1).normal(size=architecture.parameters)
    return TrainedModel(
        architecture=architecture,
        weights=architecture.unpack(vector.astype(np.float32)),
        spec=spec,
        encoder=encoder,
        event=PoissonGaussianEvent(
            sampling_probability=0.1, noise_multiplier=1.0, steps=10
        ),
        steps_run=10,
        guarantee={"epsilon": 1.0},
    )


def frame() -> pl.DataFrame:
    return FRAME.with_columns(pl.Series("code", ["code 3", "code 69", None, "new"]))


def saved(model: TrainedModel, **options) -> bytes:
    file = io.BytesIO()
    save_model(model, file, **options)
    return file.getvalue()


def test_losses_that_are_no_numbers_are_kept_as_unknown() -> None:
    model = replace(model_of(), losses=[0.5, math.inf, math.nan, 2.0])
    content = saved(model)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        told = json.loads(archive.read("training.json"))
    assert told["losses"] == [0.5, None, None, 2.0]
    loaded = load_model(io.BytesIO(content))
    assert np.isnan(loaded.losses).tolist() == [False, True, True, False]
    assert saved(loaded) == content


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_model_file_predicts_what_was_saved(task: str) -> None:
    model = model_of(task)
    loaded = load_model(io.BytesIO(saved(model)))
    np.testing.assert_array_equal(
        predict(loaded, frame()).scores, predict(model, frame()).scores
    )
    assert loaded.event == model.event
    assert loaded.spec == model.spec
    assert loaded.guarantee == {"epsilon": 1.0}
    assert loaded.architecture == model.architecture


def test_same_model_gives_the_same_bytes() -> None:
    assert saved(model_of()) == saved(model_of())


def test_weights_that_were_altered_are_refused() -> None:
    content = bytearray(saved(model_of()))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    weights = bytearray(entries["weights.safetensors"])
    weights[-1] ^= 1
    entries["weights.safetensors"] = bytes(weights)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(name, entry)
    with pytest.raises(ValueError, match="does not match its manifest"):
        load_model(file)


def test_entry_that_does_not_belong_is_refused() -> None:
    file = io.BytesIO(saved(model_of()))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("code.pkl", b"cos\nsystem")
    with pytest.raises(ValueError, match="does not belong"):
        load_model(file)


def test_file_that_is_no_zip_is_refused() -> None:
    with pytest.raises(ValueError, match="not a complete model file"):
        load_model(io.BytesIO(b"hello"))


def test_signature_is_checked_against_the_key() -> None:
    key = Ed25519PrivateKey.generate()
    signed = saved(model_of(), signing_key=key.private_bytes_raw())
    load_model(io.BytesIO(signed), public_key=key.public_key().public_bytes_raw())
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(ValueError, match="signature"):
        load_model(io.BytesIO(signed), public_key=other)
    with pytest.raises(ValueError, match="not signed"):
        load_model(io.BytesIO(saved(model_of())), public_key=other)


def test_labels_follow_scores() -> None:
    prediction = predict(model_of(), frame())
    assert prediction.labels is not None
    expected = ["yes" if score >= 0.5 else "no" for score in prediction.scores]
    assert prediction.labels.tolist() == expected


def test_regression_predicts_in_the_targets_unit() -> None:
    model = model_of("regression")
    assert model.encoder is not None
    scaled = predict_encoded(model, model.encoder.encode(frame()))
    np.testing.assert_allclose(predict(model, frame()).scores, (scaled + 1) * 100)


def test_no_rows_give_no_scores() -> None:
    assert predict(model_of(), frame().head(0)).scores.shape == (0,)


def test_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="Missing columns: city"):
        predict(model_of(), frame().drop("city"))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_prediction_equals_tensorflows(task: str, activation: str) -> None:
    tf = pytest.importorskip("tensorflow")
    model = model_of(task)
    model = replace(
        model, architecture=replace(model.architecture, activation=activation)
    )
    assert model.encoder is not None
    table = model.encoder.encode(frame())
    values = tf.concat(
        [
            tf.constant(table.features),
            tf.gather(model.weights["embedding_0/table"], table.ids[:, 0]),
        ],
        axis=1,
    )
    hidden = getattr(tf.nn, activation)(
        values @ model.weights["dense_0/kernel"] + model.weights["dense_0/bias"]
    )
    logits = hidden @ model.weights["dense_1/kernel"] + model.weights["dense_1/bias"]
    expected = {
        "binary": lambda: tf.sigmoid(logits)[:, 0],
        "multiclass": lambda: tf.nn.softmax(logits),
        "regression": lambda: logits[:, 0],
    }[task]()
    np.testing.assert_allclose(
        predict_encoded(model, table), expected.numpy(), atol=1e-5, rtol=1e-5
    )
