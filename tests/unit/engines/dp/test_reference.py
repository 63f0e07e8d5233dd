from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.spec import REFERENCES, TrainSpec
from privacyhub.engines.prepare.encoding import bare_table

pytest.importorskip("tensorflow_privacy")
tf = pytest.importorskip("tensorflow")

from privacyhub.engines.dp import reference  # noqa: E402
from privacyhub.engines.dp.noise import entropy_noise  # noqa: E402
from privacyhub.engines.dp.reference import (  # noqa: E402
    dp_keras,
    dp_sequential,
    train_reference,
)
from privacyhub.engines.dp.training import train  # noqa: E402
from tests.unit.engines.dp.noises import silent  # noqa: E402

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
NETWORKS = {"dpsequential": dp_sequential, "dpkeras": dp_keras}
each = pytest.mark.parametrize("implementation", list(REFERENCES))


def run(data, spec=SPEC, noise: float = 1.0):
    return train_reference(
        data, spec=spec, noise_multiplier=noise, on_block=lambda start, steps: None
    )


@each
def test_reference_noise_is_on_the_sum_over_the_expected_batch(implementation) -> None:
    # Without signal the weights move by noise alone, like the engine's.
    data = bare_table(np.full((600, 300), np.nan), np.ones(600))
    model = run(data, replace(SPEC, implementation=implementation), noise=2.0)
    kernel = model.weights["dense_0/kernel"].ravel()
    start_spread = 6 / 301 / 3  # Keras's Glorot-uniform start
    noise_spread = SPEC.steps * (2.0 / SPEC.expected_batch) ** 2
    ratio = np.mean(kernel**2) / (start_spread + noise_spread)
    assert 0.6 < ratio < 1.6
    bias = float(model.weights["dense_0/bias"][0])
    assert stats.norm.sf(abs(bias) / math.sqrt(noise_spread)) > 1e-6


@each
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_noise_of_a_reference_is_all_of_its_source(implementation, optimizer) -> None:
    """Without it nothing is random: TensorFlow's own would keep 31 bits of a seed."""
    data = bare_table(np.ones((60, 3)), np.arange(60) % 2)
    spec = replace(
        SPEC,
        units=60,
        epochs=5,
        optimizer=optimizer,
        momentum=0.9,
        implementation=implementation,
    )
    kept: list[bytes] = []
    weights = [
        train_reference(
            data,
            spec=spec,
            noise_multiplier=1e3,
            on_block=lambda start, steps: None,
            resume_from=kept[0] if kept else None,
            on_checkpoint=lambda step, content: kept.append(content),
            noise_source=silent,
        ).weights["dense_0/kernel"]
        for _ in range(2)
    ]
    np.testing.assert_allclose(*weights, rtol=1e-5)


@each
@pytest.mark.parametrize("given", [1, 7, 90])
def test_noise_of_a_step_does_not_know_how_many_rows_were_drawn(
    implementation, given
) -> None:
    """Rows of weight 0 have no gradient: the weights move by the noise alone."""
    spec = replace(SPEC, clip_norm=0.5, hidden=(20,))
    network = NETWORKS[implementation](features=100, spec=spec, noise_multiplier=3.0)
    batch = (tf.ones([given, 100]), tf.ones([given, 1]), tf.zeros([given]))
    moves = [_moved(network, batch) for _ in range(2)]
    statistic = sum(
        ((moved / (3.0 * spec.clip_norm / spec.expected_batch)) ** 2).sum()
        for moved in moves
    )
    tail = stats.chi2(2 * len(moves[0]))
    assert min(tail.cdf(statistic), tail.sf(statistic)) > 5e-7
    assert abs(np.corrcoef(*moves)[0, 1]) < 4.9 / len(moves[0]) ** 0.5


@each
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_step_is_the_clipped_sum_over_the_expected_batch(implementation, task) -> None:
    generator = np.random.default_rng(3)
    spec = replace(
        SPEC,
        task=task,
        classes=3 if task == "multiclass" else 2,
        hidden=(5,),
    )
    start = NETWORKS[implementation](features=4, spec=spec, noise_multiplier=1e-9)
    scale = generator.uniform(0.05, 3, (30, 1))
    features = (scale * generator.normal(size=(30, 4))).astype(np.float32)
    target = generator.integers(2, size=(30, 1)).astype(np.float32)
    weight = np.append(np.ones(25), np.zeros(5)).astype(np.float32)
    gradients = np.array(
        [
            _gradient(start, features[row : row + 1], target[row], spec=spec)
            for row in range(25)
        ]
    )
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    spec = replace(spec, clip_norm=float(np.median(norms)))
    expected = (gradients * np.minimum(1, spec.clip_norm / norms)).sum(axis=0)
    network = NETWORKS[implementation](features=4, spec=spec, noise_multiplier=1e-9)
    network.set_weights(start.get_weights())
    moved = _moved(network, (features, target, weight))
    np.testing.assert_allclose(
        -moved * spec.expected_batch, expected, rtol=1e-3, atol=1e-4
    )


def _moved(network, batch) -> np.ndarray:
    before = [weights.copy() for weights in network.get_weights()]
    normal = np.empty(network.count_params(), dtype=np.float32)
    entropy_noise()(normal)
    network.train_step(tuple(tf.constant(part) for part in (*batch, normal)))
    after = network.get_weights()
    return np.concatenate(
        [(a - b).ravel() for a, b in zip(after, before, strict=True)]
    ).astype(np.float64)


def _gradient(network, row, target, *, spec) -> np.ndarray:
    """Of one row's loss, by automatic differentiation."""
    with tf.GradientTape() as tape:
        logits = network(row)
        if spec.task == "binary":
            loss = tf.nn.sigmoid_cross_entropy_with_logits(target[None], logits)
        elif spec.task == "multiclass":
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                target.astype(np.int32), logits
            )
        else:
            loss = tf.square(logits - target[None])
    found = tape.gradient(loss, network.trainable_variables)
    return np.concatenate([part.numpy().ravel() for part in found])


@each
def test_empty_batches_of_a_reference_get_noise(implementation) -> None:
    spec = replace(
        SPEC, units=3000, expected_batch=1, epochs=0.02, implementation=implementation
    )
    kept: list[bytes] = []
    ends = []
    for limit in (0, None):
        model = train_reference(
            bare_table(np.ones((1, 1)), np.ones(1)),
            spec=spec,
            noise_multiplier=1.0,
            on_block=lambda start, steps: None,
            resume_from=kept[0] if kept else None,
            on_checkpoint=lambda step, content: kept.append(content),
            steps_limit=limit if kept else spec.block,
        )
        ends.append(model.weights["dense_0/kernel"])
    assert (ends[0] != ends[1]).all()


@each
def test_reference_learns_like_the_engine(implementation) -> None:
    generator = np.random.default_rng(0)
    features = generator.uniform(-1, 1, size=(600, 4))
    data = bare_table(features, features[:, 0] > 0)
    spec = replace(SPEC, epochs=10, learning_rate=2.0, implementation=implementation)
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


@each
def test_reference_refuses_what_it_does_not_cover(implementation) -> None:
    data = bare_table(np.ones((600, 2)), np.ones(600))
    for changes in (
        {"ema": 0.9},
        {"class_weights": (1.0, 2.0)},
        {"clip_quantile": 0.5},
    ):
        with pytest.raises(ValueError, match=REFERENCES[implementation]):
            run(data, replace(SPEC, implementation=implementation, **changes))


def test_loops_refuse_the_settings_of_the_other() -> None:
    data = bare_table(np.ones((600, 2)), np.ones(600))
    with pytest.raises(ValueError, match="training.train"):
        run(data, replace(SPEC, implementation="engine"))
    for implementation in REFERENCES:
        with pytest.raises(ValueError, match="reference.train_reference"):
            train(
                data,
                spec=replace(SPEC, implementation=implementation),
                noise_multiplier=1.0,
                on_block=lambda start, steps: None,
            )


@each
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_resumed_reference_goes_on_with_its_optimizer(
    implementation, optimizer
) -> None:
    """With hardly any noise both halves together are about the whole run."""
    generator = np.random.default_rng(1)
    features = generator.uniform(-1, 1, size=(600, 3))
    data = bare_table(features, features[:, 0] > 0)
    spec = replace(
        SPEC,
        expected_batch=600,
        epochs=40,
        optimizer=optimizer,
        momentum=0.9,
        learning_rate=0.1,
        implementation=implementation,
    )
    kept: list[bytes] = []
    options = {"spec": spec, "noise_multiplier": 1e-6}
    whole = train_reference(
        data,
        **options,
        on_block=lambda start, steps: None,
        on_checkpoint=lambda step, content: kept.append(content),
    )
    resumed = train_reference(
        data,
        **options,
        on_block=lambda start, steps: None,
        resume_from=kept[5],
    )
    assert resumed.steps_run == spec.steps - 6 * spec.block
    for name, weights in whole.weights.items():
        np.testing.assert_allclose(resumed.weights[name], weights, rtol=1e-3, atol=1e-4)


@each
def test_resumed_reference_goes_on_with_fresh_noise(implementation) -> None:
    """Without a gradient the weights move by the noise alone."""
    data = bare_table(np.full((600, 300), np.nan), np.ones(600))
    spec = replace(SPEC, implementation=implementation)
    kept: list[bytes] = []
    blocks: list[int] = []

    def going_on(steps_limit: int | None = None) -> np.ndarray:
        model = train_reference(
            data,
            spec=spec,
            noise_multiplier=1.0,
            on_block=lambda start, steps: blocks.append(start),
            resume_from=kept[0],
            steps_limit=steps_limit,
        )
        return model.weights["dense_0/kernel"].ravel()

    whole = train_reference(
        data,
        spec=spec,
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


@each
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_row_whose_gradient_overflows_counts_as_zero(
    implementation, optimizer, monkeypatch
) -> None:
    """Its features are finite; the square of its norm is not, or the norm is NaN."""
    tf.keras.utils.set_random_seed(5)  # from some starts no gradient overflows
    made_again = []
    without_rows = reference._Steps._gradient_norms
    monkeypatch.setattr(
        reference._Steps,
        "_gradient_norms",
        lambda self, *batch: made_again.append(1) or without_rows(self, *batch),
    )
    generator = np.random.default_rng(5)
    features = generator.normal(size=(40, 3)).astype(np.float32)
    target = generator.integers(2, size=40)
    spoiled, without = features.copy(), features.copy()
    spoiled[[7, 8]] = [[3e30], [-3e30]]
    spoiled[[20, 21]] = [[3e38], [-3e38]]
    target[[7, 8, 20, 21]] = [0, 1, 0, 1]
    without[[7, 8, 20, 21]] = np.nan
    spec = replace(
        SPEC,
        units=40,
        expected_batch=40,
        epochs=6,
        hidden=(16, 8),
        activation="relu",
        optimizer=optimizer,
        momentum=0.5,
        learning_rate=0.1,
        implementation=implementation,
    )
    kept: list[bytes] = []
    train_reference(
        bare_table(features, target),
        spec=replace(spec, epochs=1),
        noise_multiplier=1.0,
        on_block=lambda start, steps: None,
        on_checkpoint=lambda step, content: kept.append(content),
        noise_source=silent,
    )
    first, second = (
        train_reference(
            bare_table(one, target),
            spec=spec,
            noise_multiplier=1.0,
            on_block=lambda start, steps: None,
            resume_from=kept[-1],
            noise_source=silent,
        ).weights
        for one in (spoiled, without)
    )
    for name, values in first.items():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values, second[name], rtol=1e-4, atol=1e-6)
    assert made_again
