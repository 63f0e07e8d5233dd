"""Speed of DP training against training without privacy, interleaved in one run.

`python -m tests.benchmarks.dp_training` writes var/bench/dp_training.json: an MLP
100-128-64-2 on 32,768 rows, expected batch 256 and 1,024, Adam, clip 1, noise 1.
Contenders: `tf_keras` fit, fit with `steps_per_execution=16`, and TensorFlow Privacy's
DPSequential. All warm up (compile) first and then take turns; examples a second are the
median of the rounds, and each ratio the median of the rounds' ratios.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.skip_tf_privacy_import = True  # type: ignore[attr-defined]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from privacyhub.engines.dp.reference import (  # noqa: E402
    keras_layers,
    train_reference,
)
from privacyhub.engines.dp.spec import Implementation, TrainSpec  # noqa: E402
from privacyhub.engines.dp.training import train  # noqa: E402
from privacyhub.engines.prepare.encoding import EncodedTable, bare_table  # noqa: E402
from tests.benchmarks.dp_results import case, write  # noqa: E402

ROWS, FEATURES, ROUNDS, EPOCHS = 32_768, 100, 7, 6
TARGETS = {"fit": 2.0, "tuned-fit": 1.0}
# Trains for some epochs and returns examples a second, compilation aside.
Runner = Callable[[float], float]


def table() -> EncodedTable:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    return bare_table(features, features[:, :10].sum(axis=1) > 0)


def spec_of(batch: int) -> TrainSpec:
    return TrainSpec(
        task="multiclass",
        classes=2,
        units=ROWS,
        expected_batch=batch,
        epochs=EPOCHS,
        hidden=(128, 64),
        activation="relu",
        optimizer="adam",
        learning_rate=1e-3,
    )


def fit(data: EncodedTable, *, batch: int, steps_per_execution: int) -> Runner:
    model = tf.keras.Sequential(keras_layers(features=FEATURES, spec=spec_of(batch)))
    model.compile(
        "adam",
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )

    def run(epochs: float) -> float:
        start = time.perf_counter()
        model.fit(
            data.features,
            data.target,
            epochs=int(epochs),
            batch_size=batch,
            verbose=0,
        )
        return epochs * ROWS / (time.perf_counter() - start)

    run(1)
    return run


def blockwise(
    trainer: Callable[..., object],
    data: EncodedTable,
    batch: int,
    implementation: Implementation = "engine",
) -> Runner:
    """Times from the third block on: compilation is over by then."""

    def run(epochs: float) -> float:
        spec = replace(spec_of(batch), epochs=epochs, implementation=implementation)
        starts: list[tuple[int, float]] = []
        trainer(
            data,
            spec=spec,
            noise_multiplier=1.0,
            on_block=lambda step, steps: starts.append((step, time.perf_counter())),
        )
        step, begun = starts[2]
        return (spec.steps - step) * batch / (time.perf_counter() - begun)

    return run


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_case(data: EncodedTable, *, imports: float) -> dict[str, object]:
    """What the data and training add to the peak, before other contenders run.

    imports: the peak before the data was made, in MB.
    """
    train(
        data,
        spec=replace(spec_of(1024), epochs=1),
        noise_multiplier=1.0,
        on_block=lambda step, steps: None,
    )
    added = peak_mb() - imports
    limit = 1.5 * data.features.nbytes / 1024**2 + 300
    return case(
        "peak-memory",
        value=round(added),
        unit="MB above imports",
        target=f"at most 1.5 x the data + 300 MB = {limit:.0f} MB",
        met=added <= limit,
    )


def main() -> None:
    imports = peak_mb()
    data = table()
    cases = [memory_case(data, imports=imports)]
    for batch in (256, 1024):
        runners = {
            "fit": fit(data, batch=batch, steps_per_execution=1),
            "tuned-fit": fit(data, batch=batch, steps_per_execution=16),
            "dpsequential": blockwise(train_reference, data, batch, "dpsequential"),
        }
        engine = blockwise(train, data, batch)
        rounds = []
        for _ in range(ROUNDS):
            speeds = {
                name: run(1 if name == "dpsequential" else EPOCHS)
                for name, run in runners.items()
            }
            rounds.append(speeds | {"engine": engine(EPOCHS)})
        value = statistics.median(r["engine"] for r in rounds)
        for name in runners:
            ratio = statistics.median(r["engine"] / r[name] for r in rounds)
            target = TARGETS.get(name)
            cases.append(
                case(
                    f"{name}-{batch}",
                    value=round(value),
                    unit="examples/s",
                    ratio=round(ratio, 2),
                    to=name,
                    target="" if target is None else f"at least {target:g} x",
                    met=None if target is None else ratio >= target,
                )
            )
    write("dp_training", cases)


if __name__ == "__main__":
    main()
