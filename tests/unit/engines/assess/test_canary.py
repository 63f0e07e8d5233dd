"""The audit passes the build and catches builds that are broken on purpose."""

from __future__ import annotations

import secrets
from dataclasses import replace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from privacyhub.engines.assess.canary import (  # noqa: E402
    CanaryAudit,
    canary_audit,
    gaussian_lower_bound,
)
from privacyhub.engines.dp import compiled, reference, training  # noqa: E402
from privacyhub.engines.dp.clipping import clipped_sums  # noqa: E402
from privacyhub.engines.dp.noise import entropy_noise  # noqa: E402
from privacyhub.engines.dp.spec import REFERENCES  # noqa: E402
from tests.unit.engines.dp.noises import halved  # noqa: E402

NOISE, STEPS = 3.0, 4


@pytest.fixture(autouse=True)
def _seeded_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    """By chance the bound of a sound build means too little, once in 1,100 audits."""
    generator = np.random.default_rng(1)
    monkeypatch.setattr(secrets, "token_bytes", generator.bytes)
    monkeypatch.setattr(
        secrets, "randbits", lambda bits: int(generator.integers(2**bits))
    )


def audit(noise_source=None, **settings) -> CanaryAudit:
    return canary_audit(
        lambda data, spec, noise: training.train(
            data,
            spec=replace(spec, **settings),
            noise_multiplier=noise,
            on_block=lambda start, steps: None,
            noise_source=noise_source,
        ),
        noise_multiplier=NOISE,
        steps=STEPS,
        delta=1e-5,
    )


def test_build_is_consistent_and_the_bound_means_something() -> None:
    result = audit()
    assert result.consistent
    assert 0.2 * result.claimed_epsilon < result.epsilon_lower


def test_half_the_noise_is_caught() -> None:
    result = audit(noise_source=halved())
    assert not result.consistent, result


def test_adaptive_clip_norm_is_consistent_and_the_bound_means_something() -> None:
    result = audit(clip_quantile=0.5)
    assert result.consistent, result
    assert 0.2 * result.claimed_epsilon < result.epsilon_lower


def test_half_the_noise_beside_an_adaptive_clip_norm_is_caught() -> None:
    result = audit(halved(), clip_quantile=0.5)
    assert not result.consistent, result


def test_clip_that_is_off_is_caught(monkeypatch) -> None:
    monkeypatch.setattr(
        compiled,
        "clipped_sums",
        lambda **inputs: clipped_sums(**{**inputs, "clip_norm": 1e12}),
    )
    result = audit()
    assert not result.consistent, result


def test_mean_of_the_realised_batch_is_caught(monkeypatch) -> None:
    monkeypatch.setattr(training, "lanes_of", lambda sampler: 1)

    def over_realised(**inputs):
        realised = tf.reduce_sum(inputs["row_weight"])
        # The loop divides by the expected batch, 3000, afterwards.
        return [part * 3000.0 / realised for part in clipped_sums(**inputs)]

    monkeypatch.setattr(compiled, "clipped_sums", over_realised)
    result = audit()
    assert not result.consistent, result


@pytest.mark.parametrize("implementation", list(REFERENCES))
@pytest.mark.parametrize(
    ("source", "consistent"),
    [(entropy_noise, True), (halved, False)],
)
def test_references_are_audited_too(
    monkeypatch, implementation, source, consistent
) -> None:
    """With the whole noise the claim stands; with half of it, it does not."""
    dense = tf.keras.layers.Dense

    def from_zero(*, features, spec):
        # A random start would hide the canaries' marks.
        return [tf.keras.Input([features]), dense(1, kernel_initializer="zeros")]

    monkeypatch.setattr(reference, "keras_layers", from_zero)

    def trainer(data, spec, noise):
        return reference.train_reference(
            data,
            spec=replace(spec, implementation=implementation),
            noise_multiplier=noise,
            on_block=lambda start, steps: None,
            noise_source=source(),
        )

    result = canary_audit(trainer, noise_multiplier=NOISE, steps=STEPS, delta=1e-5)
    assert result.consistent == consistent, result
    assert 0.2 * result.claimed_epsilon < result.epsilon_lower


def test_bound_of_known_gaussians_is_below_their_distance() -> None:
    generator = np.random.default_rng(0)
    above, found = 0, []
    for _ in range(300):
        mu = gaussian_lower_bound(
            inside=generator.normal(1, 1, 400),
            outside=generator.normal(0, 1, 400),
            confidence=0.999,
        )[2]
        assert mu >= 0
        above += mu > 1
        found.append(mu)
    assert above <= 3
    assert np.median(found) > 0.3


def test_scores_that_tell_nothing_bound_nothing() -> None:
    generator = np.random.default_rng(1)
    mu = gaussian_lower_bound(
        inside=generator.normal(size=400),
        outside=generator.normal(size=400),
        confidence=0.999,
    )[2]
    assert mu == 0
