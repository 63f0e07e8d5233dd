from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.artefact import load_model, save_model
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import bare_table

tf = pytest.importorskip("tensorflow")

from privacyhub.engines.dp import training  # noqa: E402
from privacyhub.engines.dp.compiled import compiled_steps  # noqa: E402
from privacyhub.engines.dp.optimizers import (  # noqa: E402
    OptimizerState,
    apply_gradient,
)
from privacyhub.engines.dp.sampling import PoissonSampler  # noqa: E402
from privacyhub.engines.dp.training import train, train_plain  # noqa: E402
from tests.unit.engines.dp.noises import silent  # noqa: E402

SIGNIFICANCE = 1e-6
SPEC = TrainSpec(
    task="binary", units=2000, expected_batch=200, epochs=4, hidden=(8,), seed=3
)


def table(rows: int = 2000, seed: int = 0):
    generator = np.random.default_rng(seed)
    features = generator.uniform(-1, 1, size=(rows, 5))
    target = (features[:, 0] + 0.3 * features[:, 1] > 0).astype(np.float32)
    return bare_table(features, target)


def vector_of(model) -> np.ndarray:
    return model.architecture.pack(model.weights)


def charged_blocks(spec=SPEC, data=None, **options):
    blocks = []
    model = train(
        table() if data is None else data,
        spec=spec,
        noise_multiplier=options.pop("noise_multiplier", 1.0),
        on_block=lambda start, steps: blocks.append((start, steps)),
        **options,
    )
    return model, blocks


def test_model_learns_what_is_easy() -> None:
    model, _ = charged_blocks(replace(SPEC, learning_rate=0.05), noise_multiplier=0.5)
    data = table(seed=1)
    values = np.tanh(
        data.features @ model.weights["dense_0/kernel"] + model.weights["dense_0/bias"]
    )
    logits = values @ model.weights["dense_1/kernel"] + model.weights["dense_1/bias"]
    assert ((logits[:, 0] > 0) == (data.target > 0)).mean() > 0.9


def test_blocks_cover_every_step_once_and_event_counts_them() -> None:
    model, blocks = charged_blocks()
    covered = [s for start, steps in blocks for s in range(start, start + steps)]
    assert covered == list(range(SPEC.steps))
    assert 15 <= len(blocks) <= 20
    assert model.steps_run == model.event.steps == SPEC.steps
    assert model.event.sampling_probability == 0.1
    assert model.losses == []


def test_charge_that_is_refused_stops_before_the_block() -> None:
    done = []

    def refuse_third(start: int, steps: int) -> None:
        if start >= 4:
            raise RuntimeError("no budget")

    with pytest.raises(RuntimeError, match="no budget"):
        train(
            table(),
            spec=SPEC,
            noise_multiplier=1.0,
            on_block=refuse_third,
            progress=lambda step, total: done.append(step),
        )
    assert done[-1] == 4


def test_cancelled_run_counts_what_it_ran() -> None:
    calls = iter([False, False, True])
    model, blocks = charged_blocks(cancelled=lambda: next(calls))
    assert len(blocks) == 2
    assert model.steps_run == sum(steps for _, steps in blocks) == model.event.steps


def test_noise_on_the_sum_has_the_claimed_scale() -> None:
    # With no signal (all rows weightless), plain SGD moves by noise alone:
    # -rate * sigma * clip * z / expected batch a step.
    data = table()
    data.features[:] = np.nan
    spec = replace(
        SPEC,
        optimizer="sgd",
        momentum=0.0,
        learning_rate=1.0,
        clip_norm=0.5,
        hidden=(64,),
        epochs=2,
    )
    model, _ = charged_blocks(spec, data=data, noise_multiplier=3.0)
    moved = vector_of(model) - model.architecture.initial_vector(seed=spec.seed)
    deviation = 3.0 * 0.5 / spec.expected_batch * math.sqrt(spec.steps)
    statistic = ((moved / deviation) ** 2).sum()
    tail = stats.chi2(len(moved))
    assert min(tail.cdf(statistic), tail.sf(statistic)) > SIGNIFICANCE / 2


@pytest.mark.usefixtures("seeded_entropy")
def test_sum_is_divided_by_the_expected_batch_not_the_drawn_one() -> None:
    # One step of every unit with q = 1/2: the sum varies, the divisor must not.
    rows = 64
    data = bare_table(np.ones((rows, 1)), np.ones(rows))
    spec = TrainSpec(
        task="binary",
        units=rows,
        expected_batch=rows // 2,
        epochs=0.5,
        optimizer="sgd",
        momentum=0.0,
        learning_rate=1.0,
        clip_norm=10.0,
    )

    moves = []
    for _ in range(6):
        model, _ = charged_blocks(spec, data=data, noise_source=silent)
        moves.append(float(model.weights["dense_0/bias"][0]))
    drawn = np.array(moves) / 0.5 * spec.expected_batch
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-3)
    assert len(set(np.round(drawn))) > 1


@pytest.mark.parametrize("rows_per_unit", [1, 2])
def test_loop_sums_every_row_of_a_batch_once(rows_per_unit: int) -> None:
    # Row k's feature k alone is not zero: after one step of everyone without noise,
    # each row has left its own mark, whichever lane and pass it went through.
    units = 192
    rows = units * rows_per_unit
    data = replace(
        bare_table(np.eye(rows), np.ones(rows)),
        units=np.repeat(np.arange(units), rows_per_unit),
    )
    spec = TrainSpec(
        task="binary",
        units=units,
        expected_batch=units,
        epochs=1,
        optimizer="sgd",
        momentum=0.0,
        learning_rate=1.0,
        clip_norm=100.0,
        max_rows_per_unit=rows_per_unit,
    )
    model, _ = charged_blocks(spec, data=data, noise_source=silent)
    marks = model.weights["dense_0/kernel"][:, 0] * units * rows_per_unit
    np.testing.assert_allclose(marks, 0.5, rtol=1e-4)


def test_two_runs_with_one_seed_have_unrelated_noise() -> None:
    data = table()
    data.features[:] = np.nan
    spec = replace(SPEC, optimizer="sgd", momentum=0.0, hidden=(256,))
    start = None
    moves = []
    for _ in range(2):
        model, _ = charged_blocks(spec, data=data)
        start = model.architecture.initial_vector(seed=spec.seed)
        moves.append(vector_of(model) - start)
    assert not np.array_equal(*moves)
    assert abs(np.corrcoef(*moves)[0, 1]) < 6 / math.sqrt(len(start))


def test_empty_batches_get_noise() -> None:
    data = bare_table(np.ones((3, 1)), np.ones(3))
    spec = TrainSpec(
        task="binary",
        units=3000,
        expected_batch=1,
        epochs=0.02,
        optimizer="sgd",
        momentum=0.0,
    )
    model, _ = charged_blocks(spec, data=data)
    assert (vector_of(model) != 0).all()


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e300])
def test_poison_row_ends_like_a_clean_one(poison: float) -> None:
    clean, clean_blocks = charged_blocks()
    data = table()
    with np.errstate(over="ignore"):
        data.features[5] = np.float32(poison)
    data.target[9] = np.nan
    model, blocks = charged_blocks(data=data)
    assert blocks == clean_blocks
    assert model.event == clean.event
    assert np.isfinite(vector_of(model)).all()


@pytest.mark.usefixtures("seeded_entropy")
def test_units_join_and_leave_together() -> None:
    # Row k's feature k is 1: a touched weight tells that the row took part.
    rows, per_unit = 12, 3
    features = np.eye(rows)
    data = replace(
        bare_table(features, np.ones(rows)),
        units=np.repeat(np.arange(rows // per_unit), per_unit),
    )
    spec = TrainSpec(
        task="binary",
        units=4,
        expected_batch=2,
        epochs=0.5,
        max_rows_per_unit=3,
        optimizer="sgd",
        momentum=0.0,
        clip_norm=100.0,
    )
    seen = set()
    for _ in range(6):
        model, _ = charged_blocks(spec, data=data, noise_source=silent)
        touched = model.weights["dense_0/kernel"][:, 0] != 0
        by_unit = touched.reshape(4, 3)
        assert (by_unit.all(axis=1) | ~by_unit.any(axis=1)).all()
        seen.add(tuple(by_unit[:, 0]))
    assert len(seen) > 1


def test_resumed_run_goes_on_with_fresh_noise() -> None:
    kept: list[tuple[int, bytes]] = []

    def crash(start: int, steps: int) -> None:
        if start >= 10:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(
            table(),
            spec=SPEC,
            noise_multiplier=1.0,
            on_block=crash,
            on_checkpoint=lambda step, content: kept.append((step, content)),
        )
    step, content = kept[-1]
    assert step == 10
    assert b"seed" not in content
    model, blocks = charged_blocks(resume_from=content)
    assert blocks[0][0] == 10
    assert model.steps_run == SPEC.steps - 10
    again, _ = charged_blocks(resume_from=content)
    assert not np.array_equal(vector_of(model), vector_of(again))


def test_noise_of_two_attempts_from_one_checkpoint_is_unrelated() -> None:
    """Without a gradient, plain SGD moves the weights by the noise alone."""
    data = table()
    data.features[:] = np.nan
    spec = replace(SPEC, optimizer="sgd", momentum=0.0, ema=0.0, hidden=(64,))
    kept: list[bytes] = []
    whole, _ = charged_blocks(
        spec, data=data, on_checkpoint=lambda step, content: kept.append(content)
    )
    runs = [whole]
    runs += [charged_blocks(spec, data=data, resume_from=kept[0])[0] for _ in range(2)]
    start = charged_blocks(spec, data=data, resume_from=kept[0], steps_limit=0)[0]
    noise = [vector_of(model) - vector_of(start) for model in runs]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not np.isin(noise[first], noise[second]).all()
        # 4.9 standard deviations: one in a million by chance.
        correlation = np.corrcoef(noise[first], noise[second])[0, 1]
        assert abs(correlation) < 4.9 / len(noise[first]) ** 0.5


def test_resumed_run_ends_earlier_when_it_cannot_pay() -> None:
    model, blocks = charged_blocks(steps_limit=7)
    assert sum(steps for _, steps in blocks) == model.steps_run == 7


def test_resumed_run_without_privacy_keeps_its_losses() -> None:
    kept: list[bytes] = []
    whole = train_plain(
        table(), spec=SPEC, on_checkpoint=lambda step, content: kept.append(content)
    )
    resumed = train_plain(table(), spec=SPEC, resume_from=kept[0])
    assert len(resumed.losses) == len(whole.losses) == SPEC.steps
    assert resumed.steps_run < whole.steps_run


def test_checkpoint_of_another_network_is_refused() -> None:
    kept: list[bytes] = []
    charged_blocks(on_checkpoint=lambda step, content: kept.append(content))
    for content in (kept[0], kept[0][:-9], b"no checkpoint"):
        with pytest.raises(ValueError, match="checkpoint"):
            charged_blocks(replace(SPEC, hidden=(3,)), resume_from=content)


def test_average_of_weights_lies_between_noisy_ones() -> None:
    data = table()
    data.features[:] = np.nan
    base = replace(SPEC, optimizer="sgd", momentum=0.0, hidden=(64,))
    last, _ = charged_blocks(base, data=data)
    averaged, _ = charged_blocks(replace(base, ema=0.95), data=data)
    start = last.architecture.initial_vector(seed=base.seed)
    assert np.std(vector_of(averaged) - start) < np.std(vector_of(last) - start)


def test_plain_training_records_falling_losses() -> None:
    model = train_plain(table(), spec=replace(SPEC, learning_rate=0.05))
    assert model.event is None
    assert len(model.losses) == SPEC.steps
    assert np.mean(model.losses[-5:]) < 0.7 * np.mean(model.losses[:5])


def test_plain_training_that_diverges_can_be_saved() -> None:
    spec = replace(SPEC, task="regression", optimizer="sgd", learning_rate=1000.0)
    model = train_plain(table(), spec=spec)
    assert not np.isfinite(model.losses).all()
    file = io.BytesIO()
    save_model(model, file)
    loaded = load_model(file)
    np.testing.assert_array_equal(np.isfinite(loaded.losses), np.isfinite(model.losses))


@pytest.mark.parametrize("kind", ["private", "adaptive", "plain"])
def test_a_step_of_several_passes_is_a_step_of_one(kind: str, monkeypatch) -> None:
    """Batches of some 200, in passes of 256 and of 16; and some that are empty."""
    spec = replace(
        SPEC,
        epochs=3,
        ema=0.9,
        clip_norm=0.5,
        clip_quantile=0.5 if kind == "adaptive" else None,
    )

    def trained(width: int):
        words = np.random.default_rng(3)
        noise = np.random.default_rng(4)
        seeded = PoissonSampler(
            units=len(table().target),
            sampling_probability=spec.sampling_probability,
            words=lambda size: words.integers(0, 2**64, size, dtype=np.uint64),
        )
        draw, calls = PoissonSampler.draw, []

        def drawn(self, steps):
            calls.append(steps)
            if len(calls) == 2:
                return draw(PoissonSampler(units=1, sampling_probability=1e-9), steps)
            return draw(seeded, steps)

        with monkeypatch.context() as patched:
            patched.setattr(PoissonSampler, "width", lambda self, *, multiple: width)
            patched.setattr(PoissonSampler, "draw", drawn)
            if kind == "plain":
                return train_plain(table(), spec=spec)
            return charged_blocks(
                spec, noise_source=lambda values: fill(noise, values)
            )[0]

    def fill(noise, values) -> None:
        values[...] = noise.standard_normal(values.shape, dtype=np.float32)

    one, several = trained(256), trained(16)
    moved = vector_of(one) - one.architecture.initial_vector(seed=spec.seed)
    assert np.abs(moved).max() > 0.01
    np.testing.assert_allclose(vector_of(several), vector_of(one), atol=2e-5)
    np.testing.assert_allclose(several.losses, one.losses, rtol=1e-5)


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf])
def test_noise_that_is_none_is_refused_before_any_block(noise: float) -> None:
    with pytest.raises(ValueError, match="noise multiplier"):
        charged_blocks(noise_multiplier=noise)


@pytest.fixture
def compiled(monkeypatch):
    """The compiled functions of the runs of a test."""
    made = []

    def kept(**asked):
        made.append(compiled_steps(**asked))
        return made[-1]

    monkeypatch.setattr(training, "compiled_steps", kept)
    return made


def test_run_is_traced_once(compiled) -> None:
    charged_blocks(replace(SPEC, epochs=10))
    assert compiled[0].experimental_get_tracing_count() == 1


def test_bucket_that_grows_is_traced_once_more(compiled, monkeypatch) -> None:
    """From the third call on every batch holds all units, far wider than drawn for."""
    draw, calls = PoissonSampler.draw, []

    def wider(self, steps):
        calls.append(steps)
        if len(calls) < 3:
            return draw(self, steps)
        every = PoissonSampler(units=self.units, sampling_probability=1.0)
        return draw(every, steps)

    monkeypatch.setattr(PoissonSampler, "draw", wider)
    model, _ = charged_blocks(replace(SPEC, epochs=10))
    assert len(calls) > 4
    assert model.steps_run == replace(SPEC, epochs=10).steps
    assert compiled[0].experimental_get_tracing_count() == 2


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_optimizer_equals_that_of_keras(optimizer) -> None:
    spec = replace(SPEC, optimizer=optimizer, momentum=0.8, ema=0.0)
    generator = np.random.default_rng(5)
    start = generator.normal(size=20).astype(np.float32)
    kinds = {
        "adam": lambda: tf.keras.optimizers.Adam(0.05),
        "sgd": lambda: tf.keras.optimizers.SGD(0.05, momentum=0.8),
    }
    reference = kinds[optimizer]()
    variable = tf.Variable(start)
    zeros = tf.zeros([20])
    state = OptimizerState(tf.constant(start), zeros, zeros, zeros)
    for step in range(30):
        gradient = tf.constant(generator.normal(size=20).astype(np.float32))
        reference.apply_gradients([(gradient, variable)])
        state = apply_gradient(
            state=state,
            gradient=gradient,
            rate=tf.constant(0.05),
            step=tf.constant(float(step)),
            spec=spec,
        )
    np.testing.assert_allclose(state.weights, variable.numpy(), rtol=2e-4, atol=2e-5)
