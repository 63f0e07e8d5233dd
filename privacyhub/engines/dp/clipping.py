"""Sums of clipped gradients, without per-example gradients.

For a dense layer the gradient of row i is the outer product of its input a_i and its
output gradient d_i, so its squared norm is |a_i|^2 |d_i|^2 (Goodfellow, arXiv
1510.01799). A unit of m rows has the sum of such products, whose squared norm is the
sum over row pairs (j, k) of (a_j . a_k)(d_j . d_k). The clipped sum is one matrix
product with the output gradients scaled by each unit's clip factor: no second
backward pass. The tests hold norms and sums to TensorFlow Privacy's registry and to
float64 brute force.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import tensorflow as tf

from privacyhub.engines.dp.architecture import Architecture, Task

# Inner lengths up to this are summed term by term.
_WRITTEN_OUT = 4
# Columns of a sum of squares that XLA takes together.
_AT_ONCE = 128


class Network(NamedTuple):
    """Weights as the layers use them.

    tables: each embedding's, [size, width]; dense: each layer's kernel and below it the
    bias, [inputs + 1, outputs], since the bias is the weight of an input that is 1.
    """

    tables: list[Any]
    dense: list[Any]


def layer_shapes(architecture: Architecture) -> list[tuple[int, int]]:
    """Of the tables, then of the dense layers with their biases; the order in which
    they follow one another in the flat vector."""
    tables = [(e.size, e.width) for e in architecture.embeddings]
    widths = [architecture.inputs, *architecture.hidden, architecture.outputs]
    return [*tables, *((a + 1, b) for a, b in zip(widths, widths[1:], strict=False))]


def layers_of(vector: Any, architecture: Architecture) -> list[Any]:
    """A flat vector's parts, a layer each, flat as well."""
    return tf.split(vector, [math.prod(one) for one in layer_shapes(architecture)])


def network_of(layers: Sequence[Any], architecture: Architecture) -> Network:
    """The network whose weights `layers_of` gave, or any like them."""
    shapes = layer_shapes(architecture)
    shaped = [tf.reshape(one, shape) for one, shape in zip(layers, shapes, strict=True)]
    tables = len(architecture.embeddings)
    return Network(tables=shaped[:tables], dense=shaped[tables:])


def _activate(values: Any, activation: str) -> Any:
    return tf.tanh(values) if activation == "tanh" else tf.nn.relu(values)


def _slope(activated: Any, activation: str) -> Any:
    """The activation's derivative, from its output."""
    if activation == "tanh":
        return 1 - tf.square(activated)
    return tf.cast(activated > 0, activated.dtype)


def _output_gradient(logits: Any, target: Any, task: Task) -> Any:
    """Derivative of each row's loss by its logits: [rows, outputs].

    Losses: cross-entropy; for regression half the squared error.
    """
    if task == "binary":
        return tf.sigmoid(logits) - target[:, None]
    if task == "multiclass":
        outputs = logits.shape[1]
        softmax = _few_softmax if outputs <= _WRITTEN_OUT else tf.nn.softmax
        classes = tf.one_hot(tf.cast(target, tf.int32), outputs, dtype=logits.dtype)
        return softmax(logits) - classes
    return logits - target[:, None]


def _few_softmax(logits: Any) -> Any:
    """The softmax of few columns, written out: one loop for XLA instead of six."""
    columns = tf.unstack(logits, axis=1)
    most = reduce(tf.maximum, columns)
    powers = [tf.exp(column - most) for column in columns]
    return tf.stack([power / tf.add_n(powers) for power in powers], axis=1)


def row_losses(logits: Any, target: Any, task: Task) -> Any:
    """Each row's loss: [rows]."""
    if task == "binary":
        return tf.nn.sigmoid_cross_entropy_with_logits(
            labels=target[:, None], logits=logits
        )[:, 0]
    if task == "multiclass":
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.cast(target, tf.int32), logits=logits
        )
    return 0.5 * tf.square(logits[:, 0] - target)


def _pair_norms(inputs: Any, gradients: Any, rows: int, squares: Any) -> Any:
    """Squared norms of sums of outer products, a unit: [units].

    inputs [units * rows, a], gradients [units * rows, d]. squares [units * rows] of the
    inputs, or None to take them here.
    """
    if rows == 1:
        squares = _row_squares(inputs) if squares is None else squares
        return squares * _row_squares(gradients)
    a = _by_unit(inputs, rows)
    d = _by_unit(gradients, rows)
    a_pairs = tf.matmul(a, a, transpose_b=True)
    d_pairs = tf.matmul(d, d, transpose_b=True)
    return _squared(tf.reduce_sum(a_pairs * d_pairs, axis=[1, 2]), like=gradients)


def _through(gradients: Any, kernel: Any) -> Any:
    """Gradients by a layer's input from those by its output: [rows, inputs].

    A matrix product with a tiny inner length takes XLA ten times as long as the same
    sum written out, which it fuses with what follows.
    """
    if kernel.shape[1] > _WRITTEN_OUT:
        return tf.matmul(gradients, kernel, transpose_b=True)
    return tf.add_n(
        [gradients[:, k, None] * kernel[None, :, k] for k in range(kernel.shape[1])]
    )


def _outer_sum(inputs: Any, gradients: Any) -> Any:
    """The sum over rows of the outer products: [inputs, outputs]."""
    if gradients.shape[1] > _WRITTEN_OUT:
        return tf.matmul(inputs, gradients, transpose_a=True)
    # XLA turns a transpose of the product into the slower product itself.
    products = tf.matmul(gradients, inputs, transpose_a=True)
    return tf.stack(tf.unstack(products), axis=1)


def _row_squares(values: Any) -> Any:
    """Squared norm of each row: [rows]. A matrix product, because XLA's own sum over
    the last axis takes several times as long on a CPU; and so does the product where
    it is narrower than what XLA works on at once."""
    squares, width = tf.square(values), values.shape[1]
    if _WRITTEN_OUT < width < _AT_ONCE:
        squares = tf.pad(squares, [[0, 0], [0, _AT_ONCE - width]])
    ones = tf.ones([squares.shape[1], 1], values.dtype)
    return tf.matmul(squares, ones)[:, 0]


def _by_unit(values: Any, rows: int) -> Any:
    """[units, rows, width] in double precision: rows of a unit may nearly cancel, and
    a norm that loses that in rounding would clip too little."""
    wide = tf.cast(values, tf.float64)
    return tf.reshape(wide, [-1, rows, values.shape[1]])


def _squared(total: Any, *, like: Any) -> Any:
    return tf.cast(tf.maximum(total, 0.0), like.dtype)


def _table_norms(places: Any, gradients: Any, rows: int) -> Any:
    """Squared norms of an embedding table's gradients, a unit: [units]."""
    if rows == 1:
        return tf.reduce_sum(tf.square(gradients), axis=1)
    d = _by_unit(gradients, rows)
    p = tf.reshape(places, [-1, rows])
    same = tf.cast(p[:, :, None] == p[:, None, :], tf.float64)
    pairs = same * tf.matmul(d, d, transpose_b=True)
    return _squared(tf.reduce_sum(pairs, axis=[1, 2]), like=gradients)


def clipped_sums(
    *,
    layers: Sequence[Any],
    architecture: Architecture,
    task: Task,
    features: Any,
    ids: Any,
    target: Any,
    row_weight: Any,
    clip_norm: Any,
    rows_per_unit: int = 1,
    feature_squares: Any = None,
    drawn: Any = None,
) -> list[Any]:
    """The sum over units of their clipped gradients, in parts like `layers`.

    layers: the weights, from `layers_of`; features [units * m, features]; ids int32
    [units * m, embeddings]; target [units * m]; row_weight [units * m], 0 for padding.
    feature_squares [units * m]: the squared norm of each row's features, where the
    caller has them ready. drawn [units]: 1 for a unit of the batch, 0 for padding;
    with it there is one part more, [1]: 1/2 for each unit of the batch whose gradient
    is within the clip norm, -1/2 for each other.
    A unit's gradient is the weighted sum of its rows' gradients. A unit whose gradient
    is not finite counts as zero.
    """
    network = network_of(layers, architecture)
    inputs, values = forward(network, architecture, features=features, ids=ids)

    gradient = _output_gradient(values, target, task) * row_weight[:, None]
    gradients = [gradient]
    for layer in range(len(network.dense) - 1, 0, -1):
        gradient = _through(gradient, network.dense[layer][:-1]) * _slope(
            inputs[layer][:, :-1], architecture.activation
        )
        gradients.insert(0, gradient)
    tables = []
    if architecture.embeddings:
        at_embeddings = _through(
            gradients[0], network.dense[0][architecture.features : -1]
        )
        tables = tf.split(at_embeddings, [e.width for e in architecture.embeddings], 1)

    known = [None] * len(network.dense)
    if feature_squares is not None:
        known[0] = feature_squares + 1
        if architecture.embeddings:
            known[0] += _row_squares(inputs[0][:, architecture.features : -1])
    squared = tf.add_n(
        [
            _pair_norms(a, d, rows_per_unit, squares)
            for a, d, squares in zip(inputs, gradients, known, strict=True)
        ]
        + [_table_norms(ids[:, k], d, rows_per_unit) for k, d in enumerate(tables)]
    )
    norms = tf.sqrt(squared)
    finite = tf.math.is_finite(norms)
    scale = tf.where(finite, clip_norm / tf.maximum(norms, clip_norm), 0.0)
    scale = tf.where(tf.math.is_inf(clip_norm), tf.cast(finite, scale.dtype), scale)
    counted = []
    if drawn is not None:
        within = ~finite | (norms <= clip_norm)
        counted = [tf.reduce_sum(drawn * tf.where(within, 0.5, -0.5))]
    if rows_per_unit > 1:
        scale = tf.repeat(scale, rows_per_unit)
        finite = tf.repeat(finite, rows_per_unit)

    def summed(keep: Callable[[Any], Any]) -> list[Any]:
        sums = []
        for k, (d, embedding) in enumerate(
            zip(tables, architecture.embeddings, strict=True)
        ):
            sums.append(
                tf.math.unsorted_segment_sum(
                    keep(d) * scale[:, None], ids[:, k], embedding.size
                )
            )
        for a, d in zip(inputs, gradients, strict=True):
            sums.append(_outer_sum(keep(a), keep(d) * scale[:, None]))
        return [tf.reshape(part, [-1]) for part in [*sums, *counted]]

    # Zero times NaN is NaN: rows that do not count are replaced, not multiplied away.
    # Hardly any batch has one, and the rest is spared the copies. The usual sum is
    # taken outside of the condition, where XLA fuses it with what comes before.
    usual = summed(lambda values: values)
    parts: list[Any] = tf.cond(
        tf.reduce_all(finite),
        lambda: usual,
        lambda: summed(lambda values: tf.where(finite[:, None], values, 0.0)),
    )
    return parts


def loss_sum(
    *,
    layers: Sequence[Any],
    architecture: Architecture,
    task: Task,
    features: Any,
    ids: Any,
    target: Any,
    row_weight: Any,
) -> Any:
    """The weighted sum of row losses: private, and only for runs without privacy."""
    network = network_of(layers, architecture)
    logits = forward(network, architecture, features=features, ids=ids)[1]
    losses = row_losses(logits, target, task)
    return tf.reduce_sum(tf.where(row_weight > 0, losses * row_weight, 0.0))


def forward(
    network: Network, architecture: Architecture, *, features: Any, ids: Any
) -> tuple[list[Any], Any]:
    """Each dense layer's input, [rows, inputs + 1], and the logits [rows, outputs].

    The last column is 1. Besides, a width that is a power of two would put all rows of
    a column into few places of a core's cache, and take the gradients' matrix products
    twice as long.
    """
    parts = [features]
    for k, table in enumerate(network.tables):
        parts.append(tf.gather(table, ids[:, k]))
    one = tf.ones_like(features[:, :1])
    inputs = [tf.concat([*parts, one], axis=1)]
    for matrix in network.dense[:-1]:
        values = _activate(tf.matmul(inputs[-1], matrix), architecture.activation)
        inputs.append(tf.concat([values, one], axis=1))
    return inputs, tf.matmul(inputs[-1], network.dense[-1])
