"""The steps of the training loop, many in one call of one compiled function."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from privacyhub.engines.dp.architecture import Architecture
from privacyhub.engines.dp.clipping import clipped_sum, loss_sum
from privacyhub.engines.dp.optimizers import OptimizerState, apply_gradient
from privacyhub.engines.dp.sampling import PoissonSampler
from privacyhub.engines.dp.spec import TrainSpec

_MIN_SPLIT_BATCH = 64
_LOSS_INPUTS = ("features", "ids", "target", "row_weight")


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
    clip_norm: float,
    noise_scale: float,
    with_losses: bool,
) -> Any:
    """A compiled function that runs up to S steps; see `feed.Chunk` for its inputs.

    Losses are private: only a run without privacy computes them.
    """
    clip = tf.constant(clip_norm, tf.float32)

    def sum_of_pass(weights: Any, lanes_of_pass: list[dict[str, Any]]) -> Any:
        return tf.add_n(
            [
                clipped_sum(
                    vector=weights,
                    architecture=architecture,
                    task=spec.task,
                    clip_norm=clip,
                    rows_per_unit=rows_per_unit,
                    **lane,
                )
                for lane in lanes_of_pass
            ]
        )

    @tf.function(jit_compile=True)
    def run(
        weights: Any,
        first: Any,
        second: Any,
        average: Any,
        steps: Any,
        done: Any,
        rates: Any,
        features: Any,
        feature_squares: Any,
        ids: Any,
        target: Any,
        row_weight: Any,
        pass_ends: Any,
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
            }.items()
        }

        def parts_of(k: Any) -> list[dict[str, Any]]:
            return [
                {name: array[k * lanes + lane] for name, array in rows.items()}
                for lane in range(lanes)
            ]

        def step(i: Any, begin: Any, state: Any, losses: Any) -> Any:
            def one_pass(k: Any, total: Any, loss: Any) -> Any:
                if with_losses:
                    loss += tf.add_n(
                        [
                            loss_sum(
                                vector=state.weights,
                                architecture=architecture,
                                task=spec.task,
                                **{name: lane[name] for name in _LOSS_INPUTS},
                            )
                            for lane in parts_of(k)
                        ]
                    )
                return k + 1, total + sum_of_pass(state.weights, parts_of(k)), loss

            _, total, loss = tf.while_loop(
                lambda k, *_: k < pass_ends[i],
                one_pass,
                (begin, tf.zeros_like(state.weights), tf.constant(0.0)),
            )
            gradient = (total + noise_scale * noise[i]) / spec.expected_batch
            state = apply_gradient(
                state=state,
                gradient=gradient,
                rate=rates[i],
                step=done + tf.cast(i, tf.float32),
                spec=spec,
            )
            if with_losses:
                losses = tf.tensor_scatter_nd_update(
                    losses, [[i]], [loss / spec.expected_batch]
                )
            return i + 1, pass_ends[i], state, losses

        state = OptimizerState(weights, first, second, average)
        _, _, state, losses = tf.while_loop(
            lambda i, *_: i < steps,
            step,
            (tf.constant(0), tf.constant(0), state, tf.zeros_like(rates)),
        )
        return (*state, losses)

    return run
