"""JAX Privacy: its execution plan of DP-SGD (one band), compiled with `jit`.

Runs in the peers' environment. The rows lie on the device and a step gathers its own
inside the compiled function; batches are padded to a multiple of 32 and clipped 32 at a
time, which was the fastest of what the library offers for CPUs. Each padded width is
compiled before the clock runs.
"""

from __future__ import annotations

from typing import Any

import dp_accounting
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax_privacy import batch_selection
from jax_privacy.experimental.execution_plan import (
    BandMFExecutionPlanConfig,
    DPExecutionPlan,
)

from tests.benchmarks.dp_peers import Training, serve
from tests.benchmarks.dp_setting import (
    CLASSES,
    CLIP_NORM,
    FEATURES,
    HIDDEN,
    LEARNING_RATE,
    NOISE_MULTIPLIER,
    ROWS,
    rows,
)

MULTIPLE = 32
SPREADS = 6  # widths up to this many standard deviations from the mean are compiled


def initial() -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    widths = (FEATURES, *HIDDEN, CLASSES)
    return [
        {
            "kernel": jnp.asarray(
                generator.normal(size=(inputs, outputs)) / inputs**0.5, jnp.float32
            ),
            "bias": jnp.zeros(outputs, jnp.float32),
        }
        for inputs, outputs in zip(widths, widths[1:], strict=False)
    ]


def loss(layers: list[dict[str, Any]], features: Any, target: Any) -> Any:
    """Of one row."""
    values = features
    for layer in layers[:-1]:
        values = jax.nn.relu(values @ layer["kernel"] + layer["bias"])
    logits = values @ layers[-1]["kernel"] + layers[-1]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, target)


def plan_of(batch: int, *, steps: int) -> DPExecutionPlan:
    return BandMFExecutionPlanConfig(
        iterations=steps,
        strategy=np.ones(1),
        epsilon=None,
        delta=None,
        noise_multiplier=NOISE_MULTIPLIER,
        l2_clip_norm=CLIP_NORM,
        normalize_by=batch,
        sampling_prob=batch / ROWS,
        partition_type=batch_selection.PartitionType.INDEPENDENT,
        accountant=dp_accounting.pld.PLDAccountant(
            dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
        ),
    ).plan


def training(batch: int) -> Training:
    plan = plan_of(batch, steps=1)
    optimizer = optax.adam(LEARNING_RATE)
    gradient_of = plan.clipped_grad(
        loss, batch_argnums=(1, 2), keep_batch_dim=False, microbatch_size=MULTIPLE
    )
    features, target = (jnp.asarray(array) for array in rows())
    target = target.astype(jnp.int32)

    def update(state: Any, chosen: Any, features: Any, target: Any) -> Any:
        layers, noise, moments = state
        summed = gradient_of(
            layers, features[chosen], target[chosen], is_padding_example=chosen == -1
        )
        noisy, noise = plan.noise_addition_transform.update(summed, noise)
        change, moments = optimizer.update(noisy, moments)
        return optax.apply_updates(layers, change), noise, moments

    step = jax.jit(update, donate_argnums=0)
    layers = initial()
    state = (
        layers,
        plan.noise_addition_transform.init(layers),
        optimizer.init(layers),
    )

    def padded(chosen: Any) -> Any:
        wide = batch_selection.pad_to_multiple_of(chosen, MULTIPLE)
        return wide.astype(np.int32)  # int16 does not hold the number of rows

    def train(epochs: int) -> None:
        nonlocal state
        steps = epochs * ROWS // batch
        batches = plan_of(batch, steps=steps).batch_selection_strategy
        for chosen in batches.batch_iterator(ROWS):
            state = step(state, padded(chosen), features, target)
        jax.block_until_ready(state)

    spread = SPREADS * round(batch**0.5)
    for width in range(max(1, batch - spread), batch + spread + MULTIPLE, MULTIPLE):
        state = step(state, padded(np.arange(width)), features, target)
    train(1)
    return train


if __name__ == "__main__":
    serve({"jax-privacy": training})
