"""The steps of the training loop, many in one call of one compiled function."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import tensorflow as tf

from privacyhub.engines.dp.adaptive import next_clip_norm, split
from privacyhub.engines.dp.architecture import Architecture
from privacyhub.engines.dp.clipping import clipped_sum, loss_sum
from privacyhub.engines.dp.optimizers import OptimizerState, apply_gradient
from privacyhub.engines.dp.sampling import PoissonSampler
from privacyhub.engines.dp.spec import TrainSpec

_MIN_SPLIT_BATCH = 64
_LOSS_INPUTS = ("features", "ids", "target", "row_weight")


class LoopState(NamedTuple):
    """What one step hands to the next. clip_norm: a scalar, which moves where the spec
    has a quantile and is not read elsewhere."""

    optimizer: OptimizerState
    clip_norm: Any


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
    release = _release(spec, noise_multiplier)

    def sum_of_pass(state: LoopState, lanes_of_pass: list[dict[str, Any]]) -> Any:
        return tf.add_n(
            [
                clipped_sum(
                    vector=state.optimizer.weights,
                    architecture=architecture,
                    task=spec.task,
                    clip_norm=state.clip_norm if adaptive else fixed,
                    rows_per_unit=rows_per_unit,
                    **lane,
                )
                for lane in lanes_of_pass
            ]
        )

    def loss_of_pass(state: LoopState, lanes_of_pass: list[dict[str, Any]]) -> Any:
        return tf.add_n(
            [
                loss_sum(
                    vector=state.optimizer.weights,
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
            k: Any, i: Any, total: Any, loss: Any, state: LoopState, losses: Any
        ) -> Any:
            parts = parts_of(k)
            if with_losses:
                loss += loss_of_pass(state, parts)
            total += sum_of_pass(state, parts)
            released, clip_norm = release(total, state.clip_norm, noise[i])
            optimizer = apply_gradient(
                state=state.optimizer,
                gradient=released / spec.expected_batch,
                rate=rates[i],
                step=done + tf.cast(i, tf.float32),
                spec=spec,
            )
            # Nearly every pass is the last of its step. So each makes an update, which
            # comes to nothing before the last: a loop of passes within one of steps
            # takes XLA longer.
            ends = ends_step[k]
            state = tf.nest.map_structure(
                lambda new, old: tf.where(ends, new, old),
                LoopState(optimizer, clip_norm),
                state,
            )
            if with_losses:
                losses = tf.tensor_scatter_nd_update(
                    losses, [[i]], [loss / spec.expected_batch]
                )
            zero = tf.zeros_like(total)
            return (
                k + 1,
                i + tf.cast(ends, tf.int32),
                tf.where(ends, zero, total),
                tf.where(ends, 0.0, loss),
                state,
                losses,
            )

        nothing = tf.zeros([state.optimizer.weights.shape[0] + adaptive])
        *_, state, losses = tf.while_loop(
            lambda k, *_: k < passes,
            one_pass,
            (0, 0, nothing, 0.0, state, tf.zeros_like(rates)),
        )
        return state, losses

    return run


def _release(spec: TrainSpec, noise_multiplier: float | None) -> Any:
    """A function of a step's sum, clip norm and standard normal noise: the noisy sum
    of gradients, and the clip norm of the next step."""
    if noise_multiplier is None:
        return lambda total, clip_norm, noise: (total, clip_norm)
    if spec.clip_quantile is None:
        deviation = noise_multiplier * spec.clip_norm
        return lambda total, clip_norm, noise: (total + deviation * noise, clip_norm)
    shares = split(
        noise_multiplier=noise_multiplier, expected_batch=spec.expected_batch
    )

    def adaptive(total: Any, clip_norm: Any, noise: Any) -> Any:
        gradients = total[:-1] + shares.gradients * clip_norm * noise[:-1]
        count = total[-1] + shares.counts * noise[-1]
        return gradients, next_clip_norm(clip_norm, noisy_count=count, spec=spec, xp=tf)

    return adaptive
