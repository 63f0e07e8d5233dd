"""What a noise multiplier does to a model, tried on a simulated table.

For a page that shows a privacy-utility curve before anything is read: the rows are
drawn from the declared domains alone, the labels from a known linear rule, and the
training is the run's own (sampling, clipping, fixed or adaptive, noise on the sum,
momentum or Adam, schedule, averaged weights), for a linear model in numpy. What it
tells is how the noise weighs against this many units and inputs, not how hard the real
question is.

Many runs train at once, as the columns of one weight matrix [inputs, runs].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from privacyhub.engines.dp.adaptive import Split, next_clip_norm, split
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import MAX_ONE_HOT, ColumnSpec, Encoder

REPEATS = 5
MOST_ROWS = 8192
TEST_ROWS = 4000
SIGNAL = 2.0  # logits of the simulated rule have this standard deviation
RESIDUAL = 0.2  # of a simulated number in [-1, 1], the part that no input explains
_OPERATIONS = 1e9  # multiplications of a simulation; some tenths of a second
_FEWEST_BATCH_ROWS = 32
# Weights that all steps of all runs may move together; some seconds.
MOST_MOVES = 100_000_000
_STEP_MOVES = 100  # a run's step takes as long as so many, whatever it moves
_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-7

Floats = NDArray[np.float32]


class TooLongError(ValueError):
    """The simulation would take longer than a page may."""


@dataclass(frozen=True, kw_only=True)
class SimulatedPoint:
    """Utility at one noise multiplier; 0 is a run that clips but adds no noise.

    value: mean of the repeats. low, high: the smallest and the largest of them. An R²
    below -1 is told as -1.
    """

    noise_multiplier: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Points, and what they were made from, so that a page can quote it.

    measure: "AUC" of two equally frequent classes, or "R²" of a number. best: of the
    rule that made the labels. rows: simulated training rows; batch_rows: of them a
    step, where the noise is that of the run's own expected batch. Repeats differ in
    their noise alone.
    """

    measure: str
    points: tuple[SimulatedPoint, ...]
    best: float
    columns: int
    inputs: int
    rows: int
    batch_rows: int
    steps: int
    repeats: int


def simulate(
    *,
    spec: TrainSpec,
    columns: Sequence[ColumnSpec],
    noise_multipliers: Sequence[float],
    seed: int = 0,
) -> Simulation:
    """Train on simulated rows with each noise multiplier, and without noise.

    columns: declared domains; values are drawn evenly from them, independently. A
    target of several classes is simulated as a question with two. The seed is no
    secret: nothing here sees data. Raises ValueError without a noise multiplier, and
    TooLongError where the steps would take more than some seconds.
    """
    if not noise_multipliers:
        raise ValueError("There is no noise multiplier to simulate.")
    generator = np.random.default_rng(seed)
    rows = min(spec.units, MOST_ROWS)
    features = _features(columns, rows=rows + TEST_ROWS, generator=generator)
    is_number = spec.task == "regression"
    truth, signal = _labels(features, is_number=is_number, generator=generator)
    inputs = features.shape[1]
    noise = np.append(np.repeat(noise_multipliers, REPEATS), 0).astype(np.float32)
    if spec.steps * len(noise) * (inputs + _STEP_MOVES) > MOST_MOVES:
        raise TooLongError(
            f"There is no curve: to simulate {spec.steps:,} steps of {inputs:,} inputs "
            "takes too long. Fewer epochs or a larger batch make fewer steps."
        )
    affordable = int(_OPERATIONS / (4 * spec.steps * inputs * len(noise)))
    batch_rows = min(spec.expected_batch, rows, max(_FEWEST_BATCH_ROWS, affordable))
    weights = _train(
        features[:rows],
        truth[:rows],
        spec=spec,
        noise=noise,
        batch_rows=batch_rows,
        generator=generator,
    )
    score = _r_squared if is_number else _auc
    reached = score(features[rows:] @ weights, truth[rows:])
    best = score(signal[rows:, None], truth[rows:])
    noisy = reached[:-1].reshape(-1, REPEATS)
    return Simulation(
        measure="R²" if is_number else "AUC",
        points=tuple(
            SimulatedPoint(
                noise_multiplier=multiplier,
                value=float(one.mean()),
                low=float(one.min()),
                high=float(one.max()),
            )
            for multiplier, one in zip(
                [*noise_multipliers, 0.0], [*noisy, reached[-1:]], strict=True
            )
        ),
        best=float(best[0]),
        columns=len(columns),
        inputs=inputs,
        rows=rows,
        batch_rows=batch_rows,
        steps=spec.steps,
        repeats=REPEATS,
    )


def _features(
    columns: Sequence[ColumnSpec], *, rows: int, generator: np.random.Generator
) -> Floats:
    """Encoded rows with a last input of ones for the bias, float32 [rows, inputs]."""
    # A column that has an embedding is simulated by its first categories.
    small = [replace(c, categories=c.categories[:MAX_ONE_HOT]) for c in columns]
    frame = pl.DataFrame({c.name: _values(c, rows, generator) for c in small})
    encoded = Encoder(small).encode(frame).features
    return np.hstack([encoded, np.ones((rows, 1), dtype=np.float32)])


def _values(column: ColumnSpec, rows: int, generator: np.random.Generator) -> pl.Series:
    if column.kind == "boolean":
        return pl.Series(generator.integers(0, 2, rows).astype(bool))
    if column.kind == "category":
        domain = column.categories or ("a", "b")
        return pl.Series(np.asarray(domain)[generator.integers(0, len(domain), rows)])
    low, high = column.lower or 0.0, column.upper or 1.0
    numbers = generator.uniform(low, high, rows)
    if column.kind == "date":
        return pl.Series(numbers.astype(np.int32)).cast(pl.Date)
    return pl.Series(numbers)


def _labels(
    features: Floats, *, is_number: bool, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Labels [rows] of a random linear rule, and the rule's own score of each row."""
    rule = features @ generator.normal(size=features.shape[1]).astype(np.float32)
    rule = (rule - rule.mean()) / max(float(rule.std()), 1e-9)
    if is_number:
        signal = np.clip(rule / 3, -1, 1)
        truth = np.clip(signal + generator.normal(0, RESIDUAL, len(rule)), -1, 1)
        return truth.astype(np.float32), signal
    chance = 1 / (1 + np.exp(-SIGNAL * rule))
    return (generator.random(len(rule)) < chance).astype(np.float32), rule


def _train(
    features: Floats,
    truth: Floats,
    *,
    spec: TrainSpec,
    noise: Floats,
    batch_rows: int,
    generator: np.random.Generator,
) -> Floats:
    """Weights [inputs, runs] after the steps."""
    shape = (features.shape[1], len(noise))
    weights, first, second, average = (np.zeros(shape, np.float32) for _ in range(4))
    norms = np.sqrt((features**2).sum(axis=1))
    clip_norm = np.full(len(noise), spec.clip_norm, np.float32)
    of_gradients, of_counts = _deviations(noise, spec=spec)
    for step in range(spec.steps):
        rows = generator.integers(0, len(features), batch_rows)
        batch = features[rows]
        answers = batch @ weights
        if spec.task == "regression":
            errors = answers - truth[rows, None]
        else:
            errors = 1 / (1 + np.exp(-np.clip(answers, -60, 60))) - truth[rows, None]
        lengths = np.abs(errors) * norms[rows, None]
        kept = np.minimum(1, clip_norm / np.maximum(lengths, _TINY))
        gradient = batch.T @ (errors * kept) / batch_rows
        deviation = of_gradients * clip_norm / spec.expected_batch
        gradient += generator.standard_normal(shape, dtype=np.float32) * deviation
        if spec.clip_quantile is not None:
            within = (lengths <= clip_norm).mean(axis=0) - np.float32(0.5)
            count = spec.expected_batch * within
            count += generator.standard_normal(len(noise), np.float32) * of_counts
            clip_norm = next_clip_norm(clip_norm, noisy_count=count, spec=spec, xp=np)
        rate = spec.learning_rate_at(step)
        if spec.optimizer == "adam":
            first = _BETA_1 * first + (1 - _BETA_1) * gradient
            second = _BETA_2 * second + (1 - _BETA_2) * gradient**2
            scale = (
                rate * (1 - _BETA_2 ** (step + 1)) ** 0.5 / (1 - _BETA_1 ** (step + 1))
            )
            weights = weights - scale * first / (np.sqrt(second) + _TINY)
        else:
            first = spec.momentum * first + gradient
            weights = weights - rate * first
        average = spec.ema * average + (1 - spec.ema) * weights
    return average / (1 - spec.ema**spec.steps) if spec.ema else weights


def _deviations(noise: Floats, *, spec: TrainSpec) -> tuple[Floats, Floats]:
    """Of the noise on the gradients, in clip norms, and on the count: each [runs]."""
    if spec.clip_quantile is None:
        return noise, np.zeros_like(noise)
    shares = [
        split(noise_multiplier=float(one), expected_batch=spec.expected_batch)
        if one
        else Split(0.0, 0.0)
        for one in noise
    ]
    gradients, counts = np.array(shares, dtype=np.float32).T
    return gradients, counts


def _auc(scores: Floats, truth: Floats) -> NDArray[np.float64]:
    """AUC of each column of scores [rows, runs], by ranks; ties are left aside."""
    ranks = scores.argsort(axis=0).argsort(axis=0) + 1.0
    positives = float(truth.sum())
    negatives = len(truth) - positives
    above = (ranks * truth[:, None]).sum(axis=0) - positives * (positives + 1) / 2
    return np.asarray(above / (positives * negatives))


def _r_squared(answers: Floats, truth: Floats) -> NDArray[np.float64]:
    missed = ((answers - truth[:, None]) ** 2).mean(axis=0)
    return np.asarray(np.maximum(1 - missed / truth.var(), -1))
