"""Speed of DP training against training without privacy, interleaved in one run.

`python -m tests.benchmarks.dp_training` writes var/bench/dp_training.json: an MLP
100-128-64-2 on 32,768 rows, expected batch 256 and 1,024, Adam, clip 1, noise 1.
Contenders: `tf_keras` fit, fit with `steps_per_execution=16`, TensorFlow Privacy's
DPSequential and, where `make bench-peers` has made their environment, Opacus and JAX
Privacy. All warm up (compile) first and then take turns; examples a second are the
median of the rounds, and each ratio the median of the rounds' ratios.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.skip_tf_privacy_import = True  # type: ignore[attr-defined]

import tensorflow as tf  # noqa: E402

from privacyhub.engines.dp.reference import (  # noqa: E402
    keras_layers,
    train_reference,
)
from privacyhub.engines.dp.spec import Implementation, TrainSpec  # noqa: E402
from privacyhub.engines.dp.training import train  # noqa: E402
from privacyhub.engines.prepare.encoding import EncodedTable, bare_table  # noqa: E402
from tests.benchmarks.dp_peers import Peer, installed  # noqa: E402
from tests.benchmarks.dp_setting import (  # noqa: E402
    CLASSES,
    CLIP_NORM,
    FEATURES,
    HIDDEN,
    LEARNING_RATE,
    NOISE_MULTIPLIER,
    ROWS,
    rows,
)
from tests.benchmarks.results import case, write  # noqa: E402

ROUNDS, EPOCHS = 7, 6
# Contenders that are several times slower run fewer epochs a round.
FEWER = {"dpsequential": 1, "opacus-hooks": 1, "jax-privacy": 1}
TARGETS = {"fit": 2.0, "tuned-fit": 1.0, "opacus-ghost": 6.0}
# Trains for some epochs and returns examples a second, compilation aside.
Runner = Callable[[float], float]


def table() -> EncodedTable:
    return bare_table(*rows())


def spec_of(batch: int) -> TrainSpec:
    return TrainSpec(
        task="multiclass",
        classes=CLASSES,
        units=ROWS,
        expected_batch=batch,
        epochs=EPOCHS,
        hidden=HIDDEN,
        activation="relu",
        optimizer="adam",
        learning_rate=LEARNING_RATE,
        clip_norm=CLIP_NORM,
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
            noise_multiplier=NOISE_MULTIPLIER,
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
        noise_multiplier=NOISE_MULTIPLIER,
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


def speed_cases(
    rounds: Sequence[Mapping[str, float]], *, batch: int
) -> list[dict[str, Any]]:
    """A case for each contender; a round holds examples a second, the engine's too."""
    value = statistics.median(speeds["engine"] for speeds in rounds)
    cases = []
    for name in rounds[0]:
        if name == "engine":
            continue
        ratio = statistics.median(speeds["engine"] / speeds[name] for speeds in rounds)
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
    return cases


def measured(
    data: EncodedTable, *, batch: int, peers: Sequence[Peer]
) -> list[dict[str, Any]]:
    runners = {
        "fit": fit(data, batch=batch, steps_per_execution=1),
        "tuned-fit": fit(data, batch=batch, steps_per_execution=16),
        "dpsequential": blockwise(train_reference, data, batch, "dpsequential"),
    }
    for peer in peers:
        for name in peer.contenders:
            runners[name] = peer.runner(name, batch=batch)
    runners["engine"] = blockwise(train, data, batch)
    rounds = []
    for _ in range(ROUNDS):
        rounds.append(
            {name: run(FEWER.get(name, EPOCHS)) for name, run in runners.items()}
        )
        told = (f"{name} {speed:,.0f}" for name, speed in rounds[-1].items())
        print(f"batch {batch}, examples/s:", ", ".join(told), file=sys.stderr)
    return speed_cases(rounds, batch=batch)


def main() -> None:
    imports = peak_mb()
    data = table()
    cases = [memory_case(data, imports=imports)]
    with installed() as peers:
        for batch in (256, 1024):
            cases += measured(data, batch=batch, peers=peers)
    write("dp_training", cases)


if __name__ == "__main__":
    main()
