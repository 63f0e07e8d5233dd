"""Optimizers over the flat weight vector, inside the compiled training loop."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from privacyhub.engines.dp.spec import TrainSpec

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


class OptimizerState(NamedTuple):
    """The weights and what the optimizer remembers, each [parameters], of all layers
    or of one."""

    weights: Any
    first_moment: Any
    second_moment: Any
    average: Any


def apply_gradient(
    *, state: OptimizerState, gradient: Any, rate: Any, step: Any, spec: TrainSpec
) -> OptimizerState:
    """One update. `step` counts from 0 (float32 scalar); `gradient` [parameters]."""
    if spec.optimizer == "adam":
        number = step + 1.0
        first = _BETA_1 * state.first_moment + (1 - _BETA_1) * gradient
        second = _BETA_2 * state.second_moment + (1 - _BETA_2) * tf.square(gradient)
        corrected = (
            rate * tf.sqrt(1 - tf.pow(_BETA_2, number)) / (1 - tf.pow(_BETA_1, number))
        )
        weights = state.weights - corrected * first / (tf.sqrt(second) + _EPSILON)
    else:
        first = spec.momentum * state.first_moment + gradient
        second = state.second_moment
        weights = state.weights - rate * first
    average = state.average
    if spec.ema:
        average = spec.ema * average + (1 - spec.ema) * weights
    return OptimizerState(weights, first, second, average)
