"""Speed of DP training, measured interleaved in one run.

An MLP 100-128-64-2 on 32,768 rows, expected batch 256 and 1,024, Adam, clip 1,
noise 1. The engine against `tf_keras` fit without privacy, fit with
`steps_per_execution=16`, and TensorFlow Privacy's DPSequential; Opacus and jax-privacy
where they are installed. Each contender warms up first; then all take turns, and the
median of the rounds counts. Writes `var/bench/dp_training.json`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.skip_tf_privacy_import = True  # type: ignore[attr-defined]
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from privacyhub.engines.dp.reference import keras_model  # noqa: E402
from privacyhub.engines.dp.spec import TrainSpec  # noqa: E402
from privacyhub.engines.dp.training import train  # noqa: E402
from privacyhub.engines.prepare.encoding import EncodedTable, bare_table  # noqa: E402
from tests.benchmarks.dp_results import case, peak_memory_mb, write  # noqa: E402

ROWS, FEATURES = 32_768, 100
ROUNDS = 5
TARGETS = {"fit": 2.0, "tuned-fit": 1.0, "opacus-ghost": 6.0}


@dataclass(frozen=True)
class Contender:
    """`run(epochs)` trains that many epochs."""

    name: str
    epochs: int
    run: Callable[[int], None]


def table() -> EncodedTable:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    target = (features[:, :10].sum(axis=1) > 0).astype(np.float32)
    return bare_table(features, target)


def spec_of(batch: int, epochs: float) -> TrainSpec:
    # Two logits for two classes, like the contenders: one class of three stays empty
    # in none of them.
    return TrainSpec(
        task="multiclass",
        classes=3,
        units=ROWS,
        expected_batch=batch,
        epochs=epochs,
        hidden=(128, 64),
        activation="relu",
        optimizer="adam",
        learning_rate=1e-3,
    )
