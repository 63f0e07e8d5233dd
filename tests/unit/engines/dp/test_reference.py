from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import bare_table

pytest.importorskip("tensorflow_privacy")

from privacyhub.engines.dp.reference import train_dpsequential  # noqa: E402
from privacyhub.engines.dp.training import train  # noqa: E402

SPEC = TrainSpec(
    task="binary",
    units=600,
    expected_batch=60,
    epochs=1,
    optimizer="sgd",
    momentum=0.0,
    learning_rate=1.0,
    implementation="dpsequential",
)


def run(data, spec=SPEC, noise: float = 1.0):
    return train_dpsequential(
        data, spec=spec, noise_multiplier=noise, on_block=lambda start, steps: None
    )


def test_reference_noise_is_on_the_sum_over_the_expected_batch() -> None:
    # Without signal the weights move by noise alone, like the engine's.
    data = bare_table(np.full((600, 300), np.nan), np.ones(600))
    model = run(data, replace(SPEC, hidden=()), noise=2.0)
    kernel = model.weights["dense_0/kernel"].ravel()
    start_spread = 6 / 301 / 3  # Keras's Glorot-uniform start
    noise_spread = SPEC.steps * (2.0 / SPEC.expected_batch) ** 2
    ratio = np.mean(kernel**2) / (start_spread + noise_spread)
    assert 0.6 < ratio < 1.6
    bias = float(model.weights["dense_0/bias"][0])
    assert stats.norm.sf(abs(bias) / math.sqrt(noise_spread)) > 1e-6


def test_reference_learns_like_the_engine() -> None:
    generator = np.random.default_rng(0)
    features = generator.uniform(-1, 1, size=(600, 4))
    data = bare_table(features, features[:, 0] > 0)
    spec = replace(SPEC, epochs=10, learning_rate=2.0)
    ours = train(
        data,
        spec=replace(spec, implementation="engine"),
        noise_multiplier=0.3,
        on_block=lambda start, steps: None,
    )
    reference = run(data, spec, noise=0.3)
    kernels = [m.weights["dense_0/kernel"].ravel() for m in (ours, reference)]
    assert np.corrcoef(*kernels)[0, 1] > 0.97
    assert np.linalg.norm(kernels[0]) == pytest.approx(
        np.linalg.norm(kernels[1]), rel=0.2
    )
    assert reference.event == ours.event


def test_reference_refuses_what_it_does_not_cover() -> None:
    data = bare_table(np.ones((600, 2)), np.ones(600))
    for changes in ({"ema": 0.9}, {"class_weights": (1.0, 2.0)}):
        with pytest.raises(ValueError, match="DPSequential"):
            run(data, replace(SPEC, **changes))


def test_resumed_reference_goes_on_with_fresh_noise() -> None:
    """Without a gradient the weights move by the noise alone."""
    data = bare_table(np.full((600, 300), np.nan), np.ones(600))
    kept: list[bytes] = []
    blocks: list[int] = []

    def going_on(steps_limit: int | None = None) -> np.ndarray:
        model = train_dpsequential(
            data,
            spec=SPEC,
            noise_multiplier=1.0,
            on_block=lambda start, steps: blocks.append(start),
            resume_from=kept[0],
            steps_limit=steps_limit,
        )
        return model.weights["dense_0/kernel"].ravel()

    whole = train_dpsequential(
        data,
        spec=SPEC,
        noise_multiplier=1.0,
        on_block=lambda start, steps: None,
        on_checkpoint=lambda step, content: kept.append(content),
    )
    start = going_on(steps_limit=0)
    assert blocks == []
    noise = [going_on() - start for _ in range(2)]
    assert blocks[0] == SPEC.block
    noise.append(whole.weights["dense_0/kernel"].ravel() - start)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        # 4.9 standard deviations: one in a million by chance.
        correlation = np.corrcoef(noise[first], noise[second])[0, 1]
        assert abs(correlation) < 4.9 / 300**0.5
    spread = (SPEC.steps - SPEC.block) * (1.0 / SPEC.expected_batch) ** 2
    assert np.mean(noise[0] ** 2) == pytest.approx(spread, rel=0.5)
