"""TensorFlow Privacy's own training, selectable as the reference implementation.

Both kinds get the same true Poisson batches as the engine, and noise from its source:
TensorFlow keeps 31 bits of a seed, so its own noise is left out. A step gets standard
normal values, one a weight, and adds noise_multiplier * clip_norm times them to the
sum of clipped gradients.

`DPSequential` (dpsequential), with its layer registry, clips the gradients of a loss
that is a sum. Its optimizer adds the noise and divides by the expected batch.

`DPKerasSGDOptimizer` and `DPKerasAdamOptimizer` (dpkeras) clip each row's gradient and
divide the sum by the rows that they are given. The step takes that division back, adds
the noise and divides by the expected batch.

Rows are not padded, but for one row of weight 0 in an empty batch: its gradient is
zero. Both make a sum that is not finite of a gradient whose norm is not; such a step is
taken back and made without those rows, so that they count as zero as in the engine.

For networks over features alone: no embeddings, class weights or several rows a unit.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

# The package file of TensorFlow Privacy imports an Estimator that no longer exists.
sys.skip_tf_privacy_import = True  # type: ignore[attr-defined]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow_privacy.privacy.fast_gradient_clipping import (  # noqa: E402
    clip_grads,
    layer_registry,
)
from tensorflow_privacy.privacy.keras_models.dp_keras_model import (  # noqa: E402
    DPSequential,
)
from tensorflow_privacy.privacy.optimizers.dp_optimizer_keras import (  # noqa: E402
    DPKerasAdamOptimizer,
    DPKerasSGDOptimizer,
)

from privacyhub.engines.dp.checkpoint import (  # noqa: E402
    Checkpoint,
    OnCheckpoint,
    read_checkpoint,
)
from privacyhub.engines.dp.model import TrainedModel  # noqa: E402
from privacyhub.engines.dp.noise import NoiseSource, entropy_noise  # noqa: E402
from privacyhub.engines.dp.sampling import PoissonSampler  # noqa: E402
from privacyhub.engines.dp.spec import REFERENCES, TrainSpec  # noqa: E402
from privacyhub.engines.prepare.encoding import EncodedTable  # noqa: E402


def keras_layers(*, features: int, spec: TrainSpec) -> list[Any]:
    """The spec's network as Keras layers that end in logits."""
    outputs = spec.classes if spec.task == "multiclass" else 1
    dense = tf.keras.layers.Dense
    return [
        tf.keras.Input([features]),
        *(dense(width, activation=spec.activation) for width in spec.hidden),
        dense(outputs),
    ]


def _loss(spec: TrainSpec, *, reduction: str) -> Any:
    """The spec's loss: "sum" over rows, or "none" for each row's own."""
    losses = tf.keras.losses
    if spec.task == "binary":
        return losses.BinaryCrossentropy(from_logits=True, reduction=reduction)
    if spec.task == "multiclass":
        return losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction=reduction
        )
    return losses.MeanSquaredError(reduction=reduction)


def _options(spec: TrainSpec) -> dict[str, float]:
    """What the spec's optimizer is made with."""
    options = {"learning_rate": spec.learning_rate}
    return options | ({"momentum": spec.momentum} if spec.optimizer == "sgd" else {})


def _noisy_means(
    sums: Sequence[Any], *, normal: Any, spec: TrainSpec, noise_multiplier: float
) -> list[Any]:
    """Sums of clipped gradients, with noise and divided by the expected batch.

    normal [parameters]: standard normal values for all sums, one after another.
    """
    deviation = noise_multiplier * spec.clip_norm
    parts = tf.split(normal, [math.prod(one.shape) for one in sums])
    return [
        (one + deviation * tf.reshape(part, one.shape)) / spec.expected_batch
        for one, part in zip(sums, parts, strict=True)
    ]


def _optimizer(spec: TrainSpec, *, noise_multiplier: float) -> Any:
    """The spec's optimizer over noisy sums divided by the expected batch."""
    kinds = {"sgd": tf.keras.optimizers.SGD, "adam": tf.keras.optimizers.Adam}
    kind = kinds[spec.optimizer]

    class OfNoisySums(kind):  # type: ignore[misc, valid-type]
        """Adds the step's noise, which the step puts here, before the update."""

        normal: Any = None

        def apply_gradients(
            self, grads_and_vars: Any, *args: Any, **kwargs: Any
        ) -> Any:
            sums, variables = zip(*grads_and_vars, strict=True)
            means = _noisy_means(
                sums, normal=self.normal, spec=spec, noise_multiplier=noise_multiplier
            )
            # A step without noise of its own must fail, not take the last one's.
            self.normal = None
            return super().apply_gradients(
                zip(means, variables, strict=True), *args, **kwargs
            )

    return OfNoisySums(**_options(spec))


class _DPSequential(DPSequential):  # type: ignore[misc]
    """A `DPSequential` whose step gets its noise beside the batch."""

    def train_step(self, data: Any) -> dict[str, Any]:
        *batch, self.optimizer.normal = data
        return dict(super().train_step(tuple(batch)))


def dp_sequential(*, features: int, spec: TrainSpec, noise_multiplier: float) -> Any:
    """A compiled `DPSequential` of the spec's network."""
    model = _DPSequential(
        l2_norm_clip=spec.clip_norm,
        noise_multiplier=0.0,
        use_xla=False,
        layer_registry=layer_registry.make_default_layer_registry(),
        layers=keras_layers(features=features, spec=spec),
    )
    model.compile(
        optimizer=_optimizer(spec, noise_multiplier=noise_multiplier),
        loss=_loss(spec, reduction="sum"),
    )
    return model


class _DPKeras(tf.keras.Sequential):  # type: ignore[misc]
    """A network whose step is that of a DP Keras optimizer, of the expected batch."""

    def __init__(
        self, *, spec: TrainSpec, noise_multiplier: float, layers: Any
    ) -> None:
        super().__init__(layers)
        kinds = {"sgd": DPKerasSGDOptimizer, "adam": DPKerasAdamOptimizer}
        self.compile(
            optimizer=kinds[spec.optimizer](
                l2_norm_clip=spec.clip_norm,
                noise_multiplier=0.0,
                num_microbatches=None,  # one a row
                **_options(spec),
            ),
            loss=_loss(spec, reduction="none"),
        )
        self._spec = spec
        self._noise_multiplier = noise_multiplier

    def train_step(self, data: Any) -> dict[str, Any]:
        features, target, weight, normal = data
        with tf.GradientTape(persistent=True) as tape:
            losses = self.loss(target, self(features, training=True)) * weight
        means = self.optimizer._compute_gradients(
            losses, self.trainable_variables, tape=tape
        )
        given = tf.cast(tf.shape(losses)[0], tf.float32)
        noisy = _noisy_means(
            [mean * given for mean, _ in means],
            normal=normal,
            spec=self._spec,
            noise_multiplier=self._noise_multiplier,
        )
        self.optimizer.apply_gradients(
            zip(noisy, self.trainable_variables, strict=True)
        )
        return {}


def dp_keras(*, features: int, spec: TrainSpec, noise_multiplier: float) -> Any:
    """The spec's network under `DPKerasSGDOptimizer` or `DPKerasAdamOptimizer`."""
    layers = keras_layers(features=features, spec=spec)
    return _DPKeras(spec=spec, noise_multiplier=noise_multiplier, layers=layers)


_NETWORKS = {"dpsequential": dp_sequential, "dpkeras": dp_keras}


class _Steps:
    """The steps of one network, compiled."""

    def __init__(self, network: Any, *, features: int) -> None:
        batch = [
            tf.TensorSpec([None, features], tf.float32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None], tf.float32),
        ]
        noise = tf.TensorSpec([network.count_params()], tf.float32)
        self._network = network
        self._state = list(_state(network).values())
        self._make = tf.function(self._train, input_signature=[*batch, noise])
        self._try = tf.function(self._train_or_leave, input_signature=[*batch, noise])
        self._norms = tf.function(self._gradient_norms, input_signature=batch)

    def run(self, x: Any, y: Any, weight: Any, normal: Any) -> None:
        """A step in which rows whose gradient is not finite count as zero."""
        if self._try(x, y, weight, normal):
            return
        kept = np.isfinite(self._norms(x, y, weight).numpy())
        x, weight = np.where(kept[:, None], x, 0), np.where(kept, weight, 0)
        self._make(x, y, weight, normal)

    def _train(self, x: Any, y: Any, weight: Any, normal: Any) -> None:
        self._network.train_step((x, y[:, None], weight, normal))

    def _train_or_leave(self, x: Any, y: Any, weight: Any, normal: Any) -> Any:
        """Whether the weights are finite after the step; if not, all is as before."""
        before = [tf.identity(variable) for variable in self._state]
        self._train(x, y, weight, normal)
        finite = tf.reduce_all(
            [
                tf.reduce_all(tf.math.is_finite(variable))
                for variable in self._network.trainable_variables
            ]
        )
        for variable, old in zip(self._state, before, strict=True):
            variable.assign(tf.where(finite, variable, old))
        return finite

    def _gradient_norms(self, x: Any, y: Any, weight: Any) -> Any:
        return clip_grads.compute_gradient_norms(
            self._network,
            layer_registry.make_default_layer_registry(),
            x,
            y[:, None],
            weight_batch=weight,
        )


def train_reference(
    data: EncodedTable,
    *,
    spec: TrainSpec,
    noise_multiplier: float,
    on_block: Callable[[int, int], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
    resume_from: bytes | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    steps_limit: int | None = None,
    noise_source: NoiseSource | None = None,
) -> TrainedModel:
    """Train with the spec's reference, with the arguments of `training.train`.

    Raises ValueError, before the first block, for what it does not cover.
    """
    if spec.implementation == "engine":
        raise ValueError("Use training.train for this implementation.")
    name = REFERENCES[spec.implementation]
    if data.target is None or data.rows == 0:
        raise ValueError("The table has no rows or no encoded target.")
    if data.ids.shape[1] or data.units is not None or spec.class_weights is not None:
        raise ValueError(
            f"{name} is offered for networks without embeddings, class weights or "
            "units of several rows."
        )
    if spec.ema or spec.schedule != "constant" or spec.clip_quantile is not None:
        raise ValueError(
            f"{name} has neither averaged weights, a schedule nor an adaptive clip "
            "norm."
        )
    finite = np.isfinite(data.features).all(axis=1) & np.isfinite(data.target)
    features = np.where(finite[:, None], data.features, 0)
    target = np.where(finite, data.target, 0)
    sampler = PoissonSampler(
        units=data.rows, sampling_probability=spec.sampling_probability
    )
    fill_noise = noise_source or entropy_noise()
    network = _NETWORKS[spec.implementation](
        features=features.shape[1], spec=spec, noise_multiplier=noise_multiplier
    )
    steps = _Steps(network, features=features.shape[1])
    parameters = network.count_params()
    block = spec.block
    start = done = _restore(network, resume_from) if resume_from else 0
    end = spec.steps if steps_limit is None else min(spec.steps, start + steps_limit)
    for first in range(start, end, block):
        if cancelled():
            break
        count = min(block, end - first)
        on_block(first, count)
        batches = sampler.draw(count)
        for rows in np.split(batches.members, np.cumsum(batches.sizes)[:-1]):
            # Keras needs a row: an empty batch gets one of weight 0.
            chosen = rows if len(rows) else np.zeros(1, dtype=np.int32)
            weight = finite[chosen].astype(np.float32) * bool(len(rows))
            # A fresh array each step: TensorFlow may read it in place.
            normal = np.empty(parameters, dtype=np.float32)
            fill_noise(normal)
            steps.run(features[chosen], target[chosen], weight, normal)
        done += count
        if on_checkpoint is not None:
            on_checkpoint(done, _checkpoint(network, step=done))
        progress(done, spec.steps)
    architecture = spec.architecture(features=features.shape[1])
    weights = dict(zip(architecture.shapes, network.get_weights(), strict=True))
    return TrainedModel(
        architecture=architecture,
        weights=weights,
        spec=spec,
        encoder=data.encoder,
        event=sampler.event(steps=done - start, noise_multiplier=noise_multiplier),
        steps_run=done - start,
    )


def _state(network: Any) -> dict[str, Any]:
    """The variables of the network and of its optimizer, by a name of their place."""
    optimizer = network.optimizer
    if isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer):
        optimizer._create_all_weights(network.trainable_variables)
        variables = [*network.variables, *optimizer.weights]
    else:
        optimizer.build(network.trainable_variables)
        variables = [*network.variables, *optimizer.variables]
    return {f"variable_{place}": v for place, v in enumerate(variables)}


def _checkpoint(network: Any, *, step: int) -> bytes:
    arrays = {name: variable.numpy() for name, variable in _state(network).items()}
    return Checkpoint(step=step, arrays=arrays).to_bytes()


def _restore(network: Any, content: bytes) -> int:
    """Put a checkpoint's arrays into the network; the number of its steps."""
    state = _state(network)
    shapes = {name: tuple(variable.shape) for name, variable in state.items()}
    found = read_checkpoint(content, shapes=shapes)
    for name, variable in state.items():
        variable.assign(found.arrays[name])
    return found.step
