"""The adaptive clip norm: its price, its noise, and TensorFlow Privacy's own query."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.accountants import rdp
from privacyhub.engines.dp.adaptive import LEARNING_RATE, MOST_CHANGE, split
from privacyhub.engines.dp.checkpoint import read_checkpoint
from privacyhub.engines.dp.events import GaussianEvent, compose
from privacyhub.engines.dp.guarantee import guarantee_of
from privacyhub.engines.dp.orders import ORDERS
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import EncodedTable, bare_table

tf = pytest.importorskip("tensorflow")

from tensorflow_privacy.privacy.dp_query import (  # noqa: E402
    quantile_adaptive_clip_sum_query as tfp,
)

from privacyhub.engines.dp.clipping import clipped_sums, layers_of  # noqa: E402
from privacyhub.engines.dp.training import train, train_plain  # noqa: E402
from tests.unit.engines.dp.noises import silent  # noqa: E402

SIGNIFICANCE = 1e-6
ROWS = 200
SPEC = TrainSpec(
    task="regression",
    units=ROWS,
    expected_batch=ROWS,
    epochs=12,
    optimizer="sgd",
    momentum=0.0,
    learning_rate=0.05,
    clip_norm=0.5,
    clip_quantile=0.7,
)


def table(rows: int = ROWS) -> EncodedTable:
    generator = np.random.default_rng(2)
    features = generator.normal(size=(rows, 4)) * generator.uniform(0.1, 3, (rows, 1))
    return bare_table(features, features[:, 0] + generator.normal(size=rows))


def gradientless(rows: int = ROWS) -> EncodedTable:
    """Rows that are not finite count as zero gradients: within any clip norm."""
    return bare_table(np.full((rows, 300), np.nan), np.ones(rows))


def run(data: EncodedTable, spec: TrainSpec = SPEC, *, noise: float = 1.0, **options):
    """The model and the clip norm after each block, of one step each."""
    kept: list[bytes] = []
    model = train(
        data,
        spec=spec,
        noise_multiplier=noise,
        on_block=lambda start, steps: None,
        on_checkpoint=lambda step, content: kept.append(content),
        **options,
    )
    return model, [clip_norm_in(content) for content in kept]


def clip_norm_in(content: bytes) -> float:
    names = ("weights", "first_moment", "second_moment", "average", "losses")
    shapes = dict.fromkeys(names) | {"clip_norm": ()}
    return float(read_checkpoint(content, shapes=shapes).arrays["clip_norm"])


def test_without_noise_every_step_is_that_of_tensorflow_privacy() -> None:
    """Everyone takes part; the gradients of each unit are written out by hand."""
    data = table()
    model, clips = run(data, noise_source=silent)
    query = tfp.QuantileAdaptiveClipSumQuery(
        initial_l2_norm_clip=SPEC.clip_norm,
        noise_multiplier=0.0,
        target_unclipped_quantile=SPEC.clip_quantile,
        learning_rate=LEARNING_RATE,
        clipped_count_stddev=0.0,
        expected_num_records=ROWS,
    )
    state = query.initial_global_state()
    vector = model.architecture.initial_vector(seed=None) * 0
    inputs = np.hstack([data.features, np.ones((ROWS, 1), np.float32)])
    expected = []
    for _ in range(SPEC.steps):
        errors = inputs @ vector - data.target
        params = query.derive_sample_params(state)
        total = query.initial_sample_state(tf.zeros(5))
        for gradient in inputs * errors[:, None]:
            record = tf.constant(gradient, tf.float32)
            total = query.accumulate_record(params, total, record)
        noised, state, _ = query.get_noised_result(total, state)
        vector = vector - SPEC.learning_rate * noised.numpy() / ROWS
        expected.append(float(state.sum_state.l2_norm_clip))
    assert len(set(expected)) == len(expected) == SPEC.steps
    np.testing.assert_allclose(clips, expected, rtol=1e-5)
    np.testing.assert_allclose(
        model.architecture.pack(model.weights), vector, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("noise", [0.3, 1.0, 7.5, 400.0])
@pytest.mark.parametrize("batch", [1, 64, 2000])
def test_both_releases_cost_what_one_sum_costs(noise: float, batch: int) -> None:
    shares = split(noise_multiplier=noise, expected_batch=batch)
    both = compose(
        [
            GaussianEvent(noise_multiplier=shares.gradients),
            GaussianEvent(noise_multiplier=2 * shares.counts),  # sensitivity 1/2
        ]
    )
    np.testing.assert_allclose(
        rdp(both, ORDERS),
        rdp(GaussianEvent(noise_multiplier=noise), ORDERS),
        rtol=1e-9,
    )
    assert shares.counts == max(batch / 20, noise)


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf])
def test_noise_that_cannot_be_split_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="positive noise multiplier"):
        split(noise_multiplier=noise, expected_batch=100)


def sums_of(features: np.ndarray, *, drawn: np.ndarray, clip: float) -> np.ndarray:
    architecture = SPEC.architecture(features=features.shape[1])
    vector = np.random.default_rng(4).normal(size=architecture.parameters)
    present = drawn.astype(np.float32)
    parts = clipped_sums(
        layers=layers_of(tf.constant(vector, tf.float32), architecture),
        architecture=architecture,
        task="regression",
        features=tf.constant(features, tf.float32),
        ids=tf.zeros([len(features), 0], tf.int32),
        target=tf.zeros(len(features)),
        row_weight=tf.constant(present * np.isfinite(features).all(axis=1)),
        clip_norm=tf.constant(clip, tf.float32),
        drawn=tf.constant(present),
    )
    return tf.concat(parts, axis=0).numpy()


def batch_of(units: int) -> np.ndarray:
    generator = np.random.default_rng(6)
    features = generator.normal(size=(units, 4)) * generator.uniform(0, 9, (units, 1))
    features[3] = 0.0
    features[5] = np.nan
    return features


@pytest.mark.parametrize("noise", [0.5, 4.0])
@pytest.mark.parametrize("clip", [0.3, 2.0, 50.0])
def test_one_unit_moves_both_sums_by_no_more_than_one_over_z(
    noise: float, clip: float
) -> None:
    features, everyone = batch_of(40), np.ones(40)
    shares = split(noise_multiplier=noise, expected_batch=40)
    scales = np.append(np.full(5, shares.gradients * clip), shares.counts)
    whole = sums_of(features, drawn=everyone, clip=clip)
    moves = []
    for unit in range(40):
        others = everyone.copy()
        others[unit] = 0
        moved = whole - sums_of(features, drawn=others, clip=clip)
        moves.append(np.linalg.norm(moved / scales))
    assert max(moves) <= (1 + 1e-5) / noise
    if clip < 50:
        assert max(moves) > 0.999 / noise  # a clipped unit: the bound is met


@pytest.mark.usefixtures("seeded_entropy")
@pytest.mark.parametrize("rows_per_unit", [1, 3])
def test_padding_adds_nothing_to_the_count(rows_per_unit: int) -> None:
    """Batches of a few among many units: most places are padding. Without noise the
    count moves the clip norm by what the drawn units alone say."""
    units = 600
    data = replace(
        gradientless(units * rows_per_unit),
        units=np.repeat(np.arange(units), rows_per_unit),
    )
    spec = replace(
        SPEC,
        units=units,
        expected_batch=20,
        epochs=20 * 20 / units,
        max_rows_per_unit=rows_per_unit,
    )
    assert spec.block == 1
    _, clips = run(data, spec, noise_source=silent)
    fractions = 0.7 - np.log(clips / np.append(spec.clip_norm, clips[:-1])) / 0.2
    # All drawn units are within: the fraction is 1/2 + drawn / 40, at most 1.
    drawn = (fractions - 0.5) * 2 * spec.expected_batch
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-3)
    assert len(set(np.round(drawn))) > 2
    assert drawn.min() > 0
    assert drawn.max() == pytest.approx(20)  # as many as are drawn, or cut to 1


def test_empty_batch_leaves_the_count_at_its_noise() -> None:
    data = bare_table(np.ones((3, 1)), np.ones(3))
    spec = replace(SPEC, units=30_000, expected_batch=1, epochs=10 / 30_000)
    _, clips = run(data, spec, noise_source=silent)
    # Nobody drawn: half of the expected batch counts as within.
    steps = np.arange(1, spec.steps + 1)
    np.testing.assert_allclose(clips, 0.5 * np.exp(0.04 * steps), rtol=1e-4)


def test_padding_and_spoilt_units_in_the_sums() -> None:
    features = batch_of(10)
    whole = sums_of(features, drawn=np.ones(10), clip=1.0)
    padded = sums_of(
        np.vstack([features, np.zeros((6, 4))]),
        drawn=np.append(np.ones(10), np.zeros(6)),
        clip=1.0,
    )
    np.testing.assert_allclose(padded, whole, rtol=1e-6)
    spoilt_alone = sums_of(np.full((1, 4), np.nan), drawn=np.ones(1), clip=1.0)
    np.testing.assert_array_equal(spoilt_alone, [0, 0, 0, 0, 0, 0.5])


def test_noise_of_both_sums_has_its_deviation() -> None:
    """Without gradients the weights move by sigma_delta * C of each step alone, and the
    clip norm by the noisy count."""
    # Hardly anyone is drawn, so that the fraction stays about one half: under a
    # quantile of 0.9 the clip norm, and the noise with it, grows fivefold.
    data = gradientless(rows=1)
    spec = replace(
        SPEC,
        units=10**6,
        expected_batch=1000,
        epochs=20 / 1000,
        learning_rate=1.0,
        clip_quantile=0.9,
    )
    weights, clips = [], []
    for _ in range(8):
        model, found = run(data, spec, noise=4.0)
        weights.append(model.architecture.pack(model.weights))
        clips.append(found)
    assert model.event.noise_multiplier == 4.0
    shares = split(noise_multiplier=4.0, expected_batch=1000)
    assert shares.counts == 50
    before = np.hstack([np.full((8, 1), spec.clip_norm), np.array(clips)[:, :-1]])
    assert before[:, -1].min() > 3 * spec.clip_norm
    counts = (0.4 - np.log(np.array(clips) / before) / 0.2) * 1000
    _chi_square(counts / shares.counts)
    scale = shares.gradients / 1000 * np.sqrt((before**2).sum(axis=1, keepdims=True))
    _chi_square(np.array(weights) / scale)


def _chi_square(standard: np.ndarray) -> None:
    tail = stats.chi2(standard.size)
    statistic = (standard**2).sum()
    assert min(tail.cdf(statistic), tail.sf(statistic)) > SIGNIFICANCE / 2


def test_resumed_run_goes_on_from_its_clip_norm() -> None:
    kept: list[bytes] = []
    model = train(
        table(),
        spec=SPEC,
        noise_multiplier=1.0,
        on_block=lambda start, steps: None,
        on_checkpoint=lambda step, content: kept.append(content),
        noise_source=silent,
    )
    resumed, clips = run(table(), noise_source=silent, resume_from=kept[4])
    assert clips == [clip_norm_in(content) for content in kept[5:]]
    assert clips[0] != SPEC.clip_norm
    for name, weights in model.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], weights)


def test_checkpoint_of_a_fixed_clip_norm_has_none_and_is_not_resumed() -> None:
    kept: list[bytes] = []
    train(
        table(),
        spec=replace(SPEC, clip_quantile=None),
        noise_multiplier=1.0,
        on_block=lambda start, steps: None,
        on_checkpoint=lambda step, content: kept.append(content),
    )
    assert b"clip_norm" not in kept[0]
    with pytest.raises(ValueError, match="another network"):
        run(table(), resume_from=kept[0])


@pytest.mark.parametrize("first", [0.01, 100.0])
def test_clip_norm_comes_to_the_quantile_of_the_norms(first: float) -> None:
    data = table()
    spec = replace(
        SPEC, epochs=100, clip_norm=first, clip_quantile=0.5, learning_rate=1e-6
    )
    _, clips = run(data, spec, noise=0.5)
    inputs = np.hstack([data.features, np.ones((ROWS, 1), np.float32)])
    norms = np.linalg.norm(inputs * data.target[:, None], axis=1)
    low, high = np.quantile(norms, [0.4, 0.6])
    assert low < np.median(clips[-5:]) < high


def test_thousands_of_steps_without_a_gradient_stay_finite() -> None:
    spec = replace(SPEC, epochs=5000, clip_quantile=0.5)
    model, clips = run(gradientless(), spec)
    assert model.steps_run == 5000
    assert np.isfinite(model.architecture.pack(model.weights)).all()
    assert clips[-1] == pytest.approx(spec.clip_norm / MOST_CHANGE)


def test_clip_norm_stops_growing_at_its_bound() -> None:
    data = bare_table(np.full((ROWS, 1), 1e6), np.full(ROWS, 1e12))
    spec = replace(SPEC, epochs=400, learning_rate=1e-30)
    model, clips = run(data, spec, noise_source=silent)
    assert clips[-1] == pytest.approx(spec.clip_norm * MOST_CHANGE)
    assert np.isfinite(model.architecture.pack(model.weights)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_quantile": 0.0}, "between 0 and 1"),
        ({"clip_quantile": 1.0}, "between 0 and 1"),
        ({"clip_quantile": math.nan}, "between 0 and 1"),
    ],
)
def test_spec_refuses_what_cannot_adapt(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SPEC, **changes)


def test_training_without_privacy_has_nothing_to_adapt() -> None:
    with pytest.raises(ValueError, match="no clip norm to adapt"):
        train_plain(table(), spec=SPEC)


def test_guarantee_tells_how_the_clip_norm_moves() -> None:
    model, _ = run(table())
    told = guarantee_of(spec=SPEC, training=model.event, delta=1e-4)
    assert told.clipping == "adaptive, quantile 0.7, from 0.5"
    assert told.noise_multiplier == 1.0
    fixed = guarantee_of(
        spec=replace(SPEC, clip_quantile=None), training=model.event, delta=1e-4
    )
    assert fixed.clipping == "fixed at 0.5"
    assert told.epsilon == fixed.epsilon
