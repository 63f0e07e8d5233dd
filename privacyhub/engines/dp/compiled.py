"""The steps of the training loop, many in one call of one compiled function."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import tensorflow as tf

from privacyhub.engines.dp.adaptive import next_clip_norm, split
from privacyhub.engines.dp.architecture import Architecture
from privacyhub.engines.dp.clipping import clipped_sums, layers_of, loss_sum
from privacyhub.engines.dp.optimizers import OptimizerState, apply_gradient
from privacyhub.engines.dp.sampling import PoissonSampler
from privacyhub.engines.dp.spec import TrainSpec

_MIN_SPLIT_BATCH = 64
_LOSS_INPUTS = ("features", "ids", "target", "row_weight")


class LoopState(NamedTuple):
    """What one call hands to the next. clip_norm: a scalar, which moves where the spec
    has a quantile and is not read elsewhere."""

    optimizer: OptimizerState
    clip_norm: Any


class _StepState(NamedTuple):
    """What one step hands to the next: a LoopState, the optimizer's in parts, a layer
    each. Nothing is put together into a flat vector and taken apart in each step."""

    layers: list[OptimizerState]
    clip_norm: Any

    @property
    def weights(self) -> list[Any]:
        return [layer.weights for layer in self.layers]

    @classmethod
    def of(cls, state: LoopState, architecture: Architecture) -> _StepState:
        fields = [layers_of(field, architecture) for field in state.optimizer]
        layers = [OptimizerState(*layer) for layer in zip(*fields, strict=True)]
        return cls(layers, state.clip_norm)

    def joined(self) -> LoopState:
        fields = zip(*self.layers, strict=True)
        optimizer = OptimizerState(*(tf.concat(field, axis=0) for field in fields))
        return LoopState(optimizer, self.clip_norm)


def lanes_of(sampler: PoissonSampler) -> int:
    """Into how many parts a batch is split to be computed side by side.

    The matrix products of one batch are too small for more than one core.
    """
    expected = sampler.units * sampler.sampling_probability
    return min(4, os.cpu_count() or 1) if expected >= _MIN_SPLIT_BATCH else 1


def compiled_steps(
    *,
    architecture: Architecture,
    spec: TrainSpec,
    rows_per_unit: int,
    lanes: int,
    noise_multiplier: float | None,
) -> Any:
    """A compiled function that runs the passes of up to S steps; see `feed.Chunk`.

    noise_multiplier: None without privacy, where nothing is clipped and no noise is
    added. Losses are private: only such a run computes them.
    """
    with_losses = noise_multiplier is None
    adaptive = spec.clip_quantile is not None
    fixed = tf.constant(math.inf if with_losses else spec.clip_norm, tf.float32)
    release = _release(architecture, spec, noise_multiplier)

    def sums_of_pass(
        state: _StepState, lanes_of_pass: list[dict[str, Any]]
    ) -> list[Any]:
        of_lanes = [
            clipped_sums(
                layers=state.weights,
                architecture=architecture,
                task=spec.task,
                clip_norm=state.clip_norm if adaptive else fixed,
                rows_per_unit=rows_per_unit,
                **lane,
            )
            for lane in lanes_of_pass
        ]
        return [tf.add_n(part) for part in zip(*of_lanes, strict=True)]

    def loss_of_pass(state: _StepState, lanes_of_pass: list[dict[str, Any]]) -> Any:
        return tf.add_n(
            [
                loss_sum(
                    layers=state.weights,
                    architecture=architecture,
                    task=spec.task,
                    **{name: lane[name] for name in _LOSS_INPUTS},
                )
                for lane in lanes_of_pass
            ]
        )

    @tf.function(jit_compile=True)
    def run(
        state: LoopState,
        passes: Any,
        done: Any,
        rates: Any,
        features: Any,
        feature_squares: Any,
        ids: Any,
        target: Any,
        row_weight: Any,
        drawn: Any,
        ends_step: Any,
        noise: Any,
    ) -> Any:
        # One index on the first axis alone: XLA miscompiles a slice whose start mixes
        # a loop variable with a constant (it took the first lane for every lane).
        rows = {
            name: tf.reshape(a, [a.shape[0] * lanes, a.shape[1] // lanes, *a.shape[2:]])
            for name, a in {
                "features": features,
                "feature_squares": feature_squares,
                "ids": ids,
                "target": target,
                "row_weight": row_weight,
                **({"drawn": drawn} if adaptive else {}),
            }.items()
        }

        def parts_of(k: Any) -> list[dict[str, Any]]:
            return [
                {name: array[k * lanes + lane] for name, array in rows.items()}
                for lane in range(lanes)
            ]

        def one_pass(
            k: Any,
            i: Any,
            total: list[Any],
            loss: Any,
            state: _StepState,
            losses: Any,
        ) -> Any:
            parts = parts_of(k)
            if with_losses:
                loss += loss_of_pass(state, parts)
            sums = sums_of_pass(state, parts)
            total = [so_far + part for so_far, part in zip(total, sums, strict=True)]
            released, clip_norm = release(total, state.clip_norm, noise[i])
            layers = [
                apply_gradient(
                    state=layer,
                    gradient=gradient / spec.expected_batch,
                    rate=rates[i],
                    step=done + tf.cast(i, tf.float32),
                    spec=spec,
                )
                for layer, gradient in zip(state.layers, released, strict=True)
            ]
            # Nearly every pass is the last of its step. So each makes an update, which
            # comes to nothing before the last: a loop of passes within one of steps
            # takes XLA longer.
            ends = ends_step[k]
            state = tf.nest.map_structure(
                lambda new, old: tf.where(ends, new, old),
                _StepState(layers, clip_norm),
                state,
            )
            if with_losses:
                losses = tf.tensor_scatter_nd_update(
                    losses, [[i]], [loss / spec.expected_batch]
                )
            return (
                k + 1,
                i + tf.cast(ends, tf.int32),
                [tf.where(ends, 0.0, part) for part in total],
                tf.where(ends, 0.0, loss),
                state,
                losses,
            )

        begun = _StepState.of(state, architecture)
        nothing = [tf.zeros_like(part) for part in begun.weights]
        if adaptive:
            nothing.append(tf.zeros([1]))
        *_, ended, losses = tf.while_loop(
            lambda k, *_: k < passes,
            one_pass,
            (0, 0, nothing, 0.0, begun, tf.zeros_like(rates)),
        )
        return ended.joined(), losses

    return run


def _release(
    architecture: Architecture, spec: TrainSpec, noise_multiplier: float | None
) -> Any:
    """A function of a step's sums, clip norm and standard normal noise: the noisy sum
    of gradients, a layer each, and the clip norm of the next step."""
    if noise_multiplier is None:
        return lambda total, clip_norm, noise: (total, clip_norm)

    def noisy(total: list[Any], deviation: Any, noise: Any) -> list[Any]:
        of_layers = layers_of(noise, architecture)
        return [
            part + deviation * drawn
            for part, drawn in zip(total, of_layers, strict=True)
        ]

    if spec.clip_quantile is None:
        deviation = noise_multiplier * spec.clip_norm
        return lambda total, clip_norm, noise: (
            noisy(total, deviation, noise),
            clip_norm,
        )
    shares = split(
        noise_multiplier=noise_multiplier, expected_batch=spec.expected_batch
    )

    def adaptive(total: list[Any], clip_norm: Any, noise: Any) -> Any:
        gradients = noisy(total[:-1], shares.gradients * clip_norm, noise[:-1])
        count = total[-1][0] + shares.counts * noise[-1]
        return gradients, next_clip_norm(clip_norm, noisy_count=count, spec=spec, xp=tf)

    return adaptive
