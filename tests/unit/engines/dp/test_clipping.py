"""Clipped sums against float64 brute force and TensorFlow Privacy's registry."""

from __future__ import annotations

import sys

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
sys.skip_tf_privacy_import = True  # type: ignore[attr-defined]

from tensorflow_privacy.privacy.fast_gradient_clipping import (  # noqa: E402
    clip_grads,
    layer_registry,
)

from privacyhub.engines.dp.architecture import Architecture, Embedding  # noqa: E402
from privacyhub.engines.dp.clipping import clipped_sums, layers_of  # noqa: E402
from privacyhub.engines.dp.spec import MOST_CLIP  # noqa: E402

CASES = [
    pytest.param("binary", 1, (), (), 1, id="logistic"),
    pytest.param("binary", 1, (16, 8), (), 1, id="mlp"),
    pytest.param("binary", 1, (16,), ((7, 3), (5, 2)), 1, id="embeddings"),
    pytest.param("multiclass", 4, (12,), (), 1, id="softmax"),
    pytest.param("multiclass", 7, (12,), ((5, 2),), 1, id="softmax-of-7"),
    pytest.param("regression", 1, (10,), (), 1, id="regression"),
    pytest.param("binary", 1, (16, 8), ((7, 3),), 3, id="units-of-3"),
    pytest.param("multiclass", 4, (), ((4, 2),), 2, id="units-of-2-softmax"),
]


def setting(task, outputs, hidden, embeddings, rows_per_unit, *, activation="tanh"):
    generator = np.random.default_rng(7)
    architecture = Architecture(
        features=6,
        outputs=outputs,
        hidden=hidden,
        activation=activation,
        embeddings=tuple(Embedding(size=s, width=w) for s, w in embeddings),
    )
    rows = 40 * rows_per_unit
    ids = (
        np.stack([generator.integers(s, size=rows) for s, _ in embeddings], axis=1)
        if embeddings
        else np.zeros((rows, 0))
    )
    target = {
        "binary": generator.integers(2, size=rows),
        "multiclass": generator.integers(outputs, size=rows),
        "regression": generator.normal(size=rows),
    }[task]
    weight = generator.choice([0.0, 1.0, 2.0], size=rows, p=[0.2, 0.6, 0.2])
    return {
        "architecture": architecture,
        "vector": generator.normal(scale=0.5, size=architecture.parameters).astype(
            np.float32
        ),
        "features": generator.normal(size=(rows, 6)).astype(np.float32),
        "ids": ids.astype(np.int32),
        "target": target.astype(np.float32),
        "row_weight": weight.astype(np.float32),
    }


def ours(arrays, *, task, clip, rows_per_unit, feature_squares=None, compiled=False):
    architecture = arrays["architecture"]

    def run(clip_norm, vector, **given):
        parts = clipped_sums(
            layers=layers_of(vector, architecture),
            architecture=architecture,
            task=task,
            clip_norm=clip_norm,
            rows_per_unit=rows_per_unit,
            feature_squares=feature_squares,
            **given,
        )
        return tf.concat(parts, axis=0)

    given = {n: tf.constant(a) for n, a in arrays.items() if n != "architecture"}
    run = tf.function(run, jit_compile=True) if compiled else run
    return run(tf.constant(clip, tf.float32), **given).numpy()


def brute_force(arrays, *, task, clip, rows_per_unit):
    """Each unit's gradient by automatic differentiation in float64."""
    architecture = arrays["architecture"]
    total = np.zeros(architecture.parameters)
    for start in range(0, len(arrays["target"]), rows_per_unit):
        rows = slice(start, start + rows_per_unit)
        vector = tf.constant(arrays["vector"], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(vector)
            weights, position = {}, 0
            for name, shape in architecture.shapes.items():
                size = int(np.prod(shape))
                weights[name] = tf.reshape(vector[position : position + size], shape)
                position += size
            parts = [tf.constant(arrays["features"][rows], tf.float64)]
            for k in range(len(architecture.embeddings)):
                one_hot = tf.one_hot(
                    arrays["ids"][rows, k],
                    architecture.embeddings[k].size,
                    dtype=tf.float64,
                )
                parts.append(one_hot @ weights[f"embedding_{k}/table"])
            values = tf.concat(parts, 1)
            for layer in range(len(architecture.hidden) + 1):
                values = (
                    values @ weights[f"dense_{layer}/kernel"]
                    + weights[f"dense_{layer}/bias"]
                )
                if layer < len(architecture.hidden):
                    relu = architecture.activation == "relu"
                    values = tf.nn.relu(values) if relu else tf.tanh(values)
            target = tf.constant(arrays["target"][rows], tf.float64)
            if task == "binary":
                losses = tf.nn.sigmoid_cross_entropy_with_logits(target, values[:, 0])
            elif task == "multiclass":
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    tf.cast(target, tf.int32), values
                )
            else:
                losses = 0.5 * (values[:, 0] - target) ** 2
            loss = tf.reduce_sum(losses * arrays["row_weight"][rows])
        gradient = tape.gradient(loss, vector)
        gradient = tf.convert_to_tensor(gradient).numpy()
        total += gradient * min(1.0, clip / max(np.linalg.norm(gradient), 1e-300))
    return total


@pytest.mark.parametrize(("task", "outputs", "hidden", "embeddings", "rows"), CASES)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("clip", [0.05, 1.0])
def test_clipped_sum_equals_brute_force(
    task, outputs, hidden, embeddings, rows, activation, clip
) -> None:
    arrays = setting(task, outputs, hidden, embeddings, rows, activation=activation)
    expected = brute_force(arrays, task=task, clip=clip, rows_per_unit=rows)
    got = ours(arrays, task=task, clip=clip, rows_per_unit=rows)
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert error <= 1e-6


@pytest.mark.parametrize(("task", "outputs", "hidden", "embeddings", "rows"), CASES)
@pytest.mark.parametrize("clip", [1 / MOST_CLIP, MOST_CLIP])
@pytest.mark.parametrize("size", [1e-3, 1e4])
def test_clipped_sum_holds_at_the_bounds_of_the_clip_norm(
    task, outputs, hidden, embeddings, rows, clip, size
) -> None:
    arrays = setting(task, outputs, hidden, embeddings, rows)
    arrays["row_weight"] *= np.float32(size)  # and with them all gradients
    expected = brute_force(arrays, task=task, clip=clip, rows_per_unit=rows)
    got = ours(arrays, task=task, clip=clip, rows_per_unit=rows)
    assert np.linalg.norm(got - expected) <= 1e-6 * np.linalg.norm(expected)


def test_squares_that_are_known_give_the_same_sum() -> None:
    arrays = setting("binary", 1, (16, 8), ((7, 3),), 1)
    run = {"task": "binary", "clip": 0.7, "rows_per_unit": 1}
    squares = tf.reduce_sum(tf.square(tf.constant(arrays["features"])), axis=1)
    known = ours(arrays, **run, feature_squares=squares)
    expected = brute_force(arrays, **run)
    assert np.linalg.norm(known - expected) <= 1e-6 * np.linalg.norm(expected)


def keras_model(arrays, hidden):
    """The setting's network in Keras, and its variables as the flat vector has them."""
    layers, architecture = tf.keras.layers, arrays["architecture"]
    weights = architecture.unpack(arrays["vector"])
    dense_in = tf.keras.Input([6])
    ids_in = [tf.keras.Input([], dtype=tf.int32) for _ in architecture.embeddings]
    tables = [layers.Embedding(e.size, e.width) for e in architecture.embeddings]
    parts = [dense_in, *(table(i) for table, i in zip(tables, ids_in, strict=True))]
    values = layers.Concatenate()(parts) if tables else dense_in
    dense = [
        *(layers.Dense(width, architecture.activation) for width in hidden),
        layers.Dense(architecture.outputs),
    ]
    for layer in dense:
        values = layer(values)
    for k, table in enumerate(tables):
        table.set_weights([weights[f"embedding_{k}/table"]])
    for k, layer in enumerate(dense):
        layer.set_weights([weights[f"dense_{k}/kernel"], weights[f"dense_{k}/bias"]])
    model = tf.keras.Model([dense_in, *ids_in], values)
    variables = [v for layer in (*tables, *dense) for v in layer.variables]
    return model, variables


REGISTRY_LOSSES = {
    "binary": lambda y, z: tf.nn.sigmoid_cross_entropy_with_logits(y, z[:, 0]),
    "multiclass": lambda y, z: tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.cast(y, tf.int32), z
    ),
    "regression": lambda y, z: 0.5 * tf.square(z[:, 0] - y),
}


@pytest.mark.parametrize(("task", "outputs", "hidden", "embeddings", "rows"), CASES)
def test_clipped_sum_equals_the_registry(
    task, outputs, hidden, embeddings, rows
) -> None:
    """A unit of m rows is a microbatch, whose loss is the mean over them."""
    arrays = setting(task, outputs, hidden, embeddings, rows)
    arrays["row_weight"][:] = 1 / rows
    model, variables = keras_model(arrays, hidden)
    loss, target = REGISTRY_LOSSES[task], tf.constant(arrays["target"])
    inputs = [
        tf.constant(arrays["features"]),
        *(tf.constant(column) for column in arrays["ids"].T),
    ]
    norms = clip_grads.compute_gradient_norms(
        model,
        layer_registry.make_default_layer_registry(),
        inputs,
        target,
        per_example_loss_fn=lambda y, z, weights: loss(y, z),
        num_microbatches=len(target) // rows if rows > 1 else None,
    )
    clip = float(np.median(norms))  # half of the units are clipped
    with tf.GradientTape() as tape:
        losses = tf.reshape(loss(target, model(inputs)), [-1, rows])
        scaled = tf.reduce_sum(
            tf.reduce_mean(losses, axis=1)
            * clip_grads.compute_clip_weights(clip, norms)
        )
    gradients = tape.gradient(scaled, variables)
    expected = np.concatenate(
        [tf.convert_to_tensor(g).numpy().ravel() for g in gradients]
    )
    got = ours(arrays, task=task, clip=clip, rows_per_unit=rows)
    assert np.linalg.norm(got - expected) <= 2e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize(("task", "outputs", "hidden", "embeddings", "rows"), CASES)
def test_removing_one_unit_changes_the_sum_by_at_most_the_clip(
    task, outputs, hidden, embeddings, rows
) -> None:
    arrays = setting(task, outputs, hidden, embeddings, rows)
    arrays["features"] *= 30
    whole = ours(arrays, task=task, clip=0.7, rows_per_unit=rows)
    for unit in range(8):
        less = {k: v for k, v in arrays.items()}
        less["row_weight"] = arrays["row_weight"].copy()
        less["row_weight"][unit * rows : (unit + 1) * rows] = 0
        without = ours(less, task=task, clip=0.7, rows_per_unit=rows)
        assert np.linalg.norm(whole - without) <= 0.7 * (1 + 1e-5)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("compiled", [True, False])
def test_unit_that_is_not_finite_counts_as_zero(poison, rows, compiled) -> None:
    arrays = setting("binary", 1, (8,), ((4, 2),), rows)
    arrays["row_weight"][:] = 1
    without = {k: v for k, v in arrays.items()}
    without["row_weight"] = arrays["row_weight"].copy()
    without["row_weight"][:rows] = 0
    expected = ours(without, task="binary", clip=1.0, rows_per_unit=rows)
    arrays["features"][0] = poison
    got = ours(arrays, task="binary", clip=1.0, rows_per_unit=rows, compiled=compiled)
    assert np.isfinite(got).all()
    if not np.isfinite(poison):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    else:
        # Saturated units may still be finite: they are bounded like any other.
        assert np.linalg.norm(got - expected) <= 1.0 + 1e-5


def test_unit_whose_rows_nearly_cancel_is_still_clipped() -> None:
    # Two rows of one unit, alike but for their class, with a large loss weight: the
    # sum of their gradients is small beside each, and rounding must not hide it.
    architecture = Architecture(features=6, outputs=1, hidden=(), activation="tanh")
    generator = np.random.default_rng(3)
    features = np.repeat(generator.normal(size=(64, 6)), 2, axis=0).astype(np.float32)
    features[1::2] += generator.normal(scale=1e-3, size=(64, 6)).astype(np.float32)
    vector = np.zeros(architecture.parameters, np.float32)
    for unit in range(64):
        rows = slice(2 * unit, 2 * unit + 2)
        (total,) = clipped_sums(
            layers=[tf.constant(vector)],
            architecture=architecture,
            task="binary",
            features=tf.constant(features[rows]),
            ids=tf.zeros([2, 0], tf.int32),
            target=tf.constant([0.0, 1.0]),
            row_weight=tf.constant([1e4, 1e4]),
            clip_norm=tf.constant(0.01),
            rows_per_unit=2,
        )
        assert np.linalg.norm(total.numpy()) <= 0.01 * (1 + 1e-2)
