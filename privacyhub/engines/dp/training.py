"""The training loop: DP-SGD and DP-Adam over Poisson batches held in memory.

Each step takes the sum of the clipped gradients of a Poisson batch, adds normal noise
with standard deviation noise_multiplier * clip_norm to that sum, and divides by the
expected batch, never by the drawn one (Abadi et al., arXiv 1607.00133). Empty batches
get noise like any other. An adaptive clip norm takes a second noisy sum (`adaptive`).
Many steps run in one call of one compiled function.

Write-ahead: `on_block` is called before each block of steps runs, so that the caller
can charge it; when it raises, no step of the block has run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from privacyhub.engines.dp.checkpoint import (
    Checkpoint,
    OnCheckpoint,
    read_checkpoint,
)
from privacyhub.engines.dp.compiled import LoopState, compiled_steps, lanes_of
from privacyhub.engines.dp.feed import Chunk, Feed
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.dp.noise import NoiseSource, entropy_noise
from privacyhub.engines.dp.optimizers import OptimizerState
from privacyhub.engines.dp.sampling import (
    PoissonSampler,
    UnitRows,
    bound_rows_per_unit,
    rows_as_units,
)
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import EncodedTable

_MAX_STEPS_A_CALL = 64
_MAX_CHUNK_BYTES = 24_000_000
_LOSSES = "losses"  # of a checkpoint; empty with privacy
_CLIP_NORM = "clip_norm"  # of a checkpoint, where it is adaptive

OnBlock = Callable[[int, int], None]
Progress = Callable[[int, int], None]
Cancelled = Callable[[], bool]


def train(
    data: EncodedTable,
    *,
    spec: TrainSpec,
    noise_multiplier: float,
    on_block: OnBlock,
    progress: Progress = lambda done, total: None,
    cancelled: Cancelled = lambda: False,
    resume_from: bytes | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    steps_limit: int | None = None,
    noise_source: NoiseSource | None = None,
) -> TrainedModel:
    """Train with differential privacy.

    on_block(start_step, steps) is called before each of about 20 blocks and may raise.
    on_checkpoint(step, content) gets the state after each block; a run that is given
    such content as `resume_from` goes on from it with fresh noise. `steps_limit` is
    the most steps that this attempt can pay for. `noise_source` is for tests alone. A
    cancelled run returns what it has. Raises ValueError, before the first block, for
    settings or a checkpoint that do not fit the data.
    """
    if not math.isfinite(noise_multiplier) or noise_multiplier <= 0:
        raise ValueError("The noise multiplier must be a positive finite number.")
    if spec.implementation != "engine":
        raise ValueError("Use reference.train_reference for this implementation.")
    units = units_of(data, spec=spec)
    sampler = PoissonSampler(
        units=units.units, sampling_probability=spec.sampling_probability
    )
    loop = _Loop(
        data=data,
        spec=spec,
        units=units,
        sampler=sampler,
        noise=noise_source or entropy_noise(),
        noise_multiplier=noise_multiplier,
    )
    model = loop.run(
        on_block=on_block,
        progress=progress,
        cancelled=cancelled,
        resume_from=resume_from,
        on_checkpoint=on_checkpoint,
        steps_limit=steps_limit,
    )
    return replace(
        model,
        losses=[],
        event=sampler.event(steps=model.steps_run, noise_multiplier=noise_multiplier),
    )


def train_plain(
    data: EncodedTable,
    *,
    spec: TrainSpec,
    progress: Progress = lambda done, total: None,
    cancelled: Cancelled = lambda: False,
    resume_from: bytes | None = None,
    on_checkpoint: OnCheckpoint | None = None,
) -> TrainedModel:
    """Train the same network without clipping and noise: no guarantee at all.

    The model's `losses` hold the mean loss of each step. Raises ValueError for an
    adaptive clip norm: nothing is clipped.
    """
    if spec.clip_quantile is not None:
        raise ValueError("Without privacy there is no clip norm to adapt.")
    units = units_of(data, spec=spec)
    loop = _Loop(
        data=data,
        spec=spec,
        units=units,
        sampler=PoissonSampler(
            units=units.units, sampling_probability=spec.sampling_probability
        ),
        noise=None,
        noise_multiplier=None,
    )
    return loop.run(
        on_block=lambda start, steps: None,
        progress=progress,
        cancelled=cancelled,
        resume_from=resume_from,
        on_checkpoint=on_checkpoint,
        steps_limit=None,
    )


def units_of(data: EncodedTable, *, spec: TrainSpec) -> UnitRows:
    """The units of a table: its rows, or at most m rows of each unit key."""
    if data.target is None:
        raise ValueError("The table has no encoded target.")
    if data.rows == 0:
        raise ValueError("The table has no rows.")
    if data.units is None:
        return rows_as_units(data.rows)
    return bound_rows_per_unit(
        data.units,
        max_rows=spec.max_rows_per_unit,
    )


class _Inputs(NamedTuple):
    """A chunk's steps and passes, and its arrays as the compiled function takes
    them."""

    steps: int
    passes: int
    tensors: list[Any]

    @classmethod
    def of(cls, chunk: Chunk) -> _Inputs:
        tensors = [
            _in_place(chunk.features),
            tf.convert_to_tensor(chunk.feature_squares),
            tf.convert_to_tensor(chunk.ids),
            tf.convert_to_tensor(chunk.target),
            tf.convert_to_tensor(chunk.row_weight),
            tf.convert_to_tensor(chunk.drawn),
            tf.convert_to_tensor(chunk.ends_step),
            _in_place(chunk.noise),
        ]
        return cls(chunk.steps, chunk.passes, tensors)


def _in_place(array: NDArray[np.float32]) -> Any:
    """The array's own memory as a tensor: to copy a chunk's rows takes longer than to
    gather them. The feed writes there again only after the chunk's call has ended."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


class _Loop:
    """One run: its data, its compiled function and its state."""

    def __init__(
        self,
        *,
        data: EncodedTable,
        spec: TrainSpec,
        units: UnitRows,
        sampler: PoissonSampler,
        noise: NoiseSource | None,
        noise_multiplier: float | None,
    ) -> None:
        self._data = data
        self._spec = spec
        self._architecture = spec.architecture(
            features=data.features.shape[1], category_sizes=data.category_sizes
        )
        self._adaptive = spec.clip_quantile is not None
        self._block = spec.block
        row_bytes = 4 * (data.features.shape[1] + data.ids.shape[1] + 3)
        lanes = lanes_of(sampler)
        width = sampler.width(multiple=8 * lanes)
        step_bytes = width * units.max_rows * row_bytes
        step_bytes += 4 * self._architecture.parameters
        most = max(1, min(_MAX_STEPS_A_CALL, _MAX_CHUNK_BYTES // step_bytes))
        calls = math.ceil(self._block / most)
        self._steps_a_call = math.ceil(self._block / calls)
        assert data.target is not None  # noqa: S101 - checked by units_of
        target = np.asarray(data.target, dtype=np.float32)
        self._feed = Feed(
            data=data,
            target=target,
            units=units,
            sampler=sampler,
            row_weight=_row_weights(target, spec=spec),
            noise=noise,
            noise_columns=self._architecture.parameters + self._adaptive,
            steps_a_chunk=self._steps_a_call,
            width=width,
            marks_units=self._adaptive,
        )
        self._run_steps = compiled_steps(
            architecture=self._architecture,
            spec=spec,
            rows_per_unit=units.max_rows,
            lanes=lanes,
            noise_multiplier=noise_multiplier,
        )

    def run(
        self,
        *,
        on_block: OnBlock,
        progress: Progress,
        cancelled: Cancelled,
        resume_from: bytes | None,
        on_checkpoint: OnCheckpoint | None,
        steps_limit: int | None,
    ) -> TrainedModel:
        spec = self._spec
        state, start, losses = self._initial_state(resume_from)
        end = (
            spec.steps
            if steps_limit is None
            else min(spec.steps, start + max(0, steps_limit))
        )
        blocks = [
            (first, min(self._block, end - first))
            for first in range(start, end, self._block)
        ]
        sizes = [
            min(self._steps_a_call, first + steps - done)
            for first, steps in blocks
            for done in range(first, first + steps, self._steps_a_call)
        ]
        chunks = self._feed.chunks(sizes, ready=_Inputs.of)
        done = start
        progress(done, spec.steps)
        try:
            for first, steps in blocks:
                if cancelled():
                    break
                on_block(first, steps)
                while done < first + steps:
                    chunk = next(chunks)
                    state, chunk_losses = self._call(state, chunk, done=done)
                    losses.extend(chunk_losses)
                    done += chunk.steps
                if on_checkpoint is not None:
                    content = self._checkpoint(state, step=done, losses=losses)
                    on_checkpoint(done, content)
                progress(done, spec.steps)
        finally:
            chunks.close()
        return TrainedModel(
            architecture=self._architecture,
            weights=self._model_weights(state.optimizer, done),
            spec=spec,
            encoder=self._data.encoder,
            steps_run=done - start,
            losses=losses,
        )

    def _initial_state(
        self, resume_from: bytes | None
    ) -> tuple[LoopState, int, list[float]]:
        parameters = self._architecture.parameters
        clip_norm = tf.constant(self._spec.clip_norm, tf.float32)
        if resume_from is not None:
            of_optimizer = dict.fromkeys(OptimizerState._fields, (parameters,))
            shapes: dict[str, tuple[int, ...] | None] = {**of_optimizer, _LOSSES: None}
            if self._adaptive:
                shapes[_CLIP_NORM] = ()
            found = read_checkpoint(resume_from, shapes=shapes)
            arrays = {name: tf.constant(found.arrays[name]) for name in of_optimizer}
            if self._adaptive:
                clip_norm = tf.constant(found.arrays[_CLIP_NORM])
            losses = found.arrays[_LOSSES].tolist()
            return LoopState(OptimizerState(**arrays), clip_norm), found.step, losses
        zeros = tf.zeros([parameters], tf.float32)
        weights = tf.constant(self._architecture.initial_vector(seed=self._spec.seed))
        state = OptimizerState(weights, zeros, zeros, zeros)
        return LoopState(state, clip_norm), 0, []

    def _checkpoint(self, state: LoopState, *, step: int, losses: list[float]) -> bytes:
        arrays = {n: array.numpy() for n, array in state.optimizer._asdict().items()}
        arrays[_LOSSES] = np.array(losses, dtype=np.float32)
        if self._adaptive:
            arrays[_CLIP_NORM] = state.clip_norm.numpy()
        return Checkpoint(step=step, arrays=arrays).to_bytes()

    def _call(
        self, state: LoopState, inputs: _Inputs, *, done: int
    ) -> tuple[LoopState, list[float]]:
        rates = np.array(
            [
                self._spec.learning_rate_at(min(done + i, self._spec.steps))
                for i in range(self._steps_a_call)
            ],
            dtype=np.float32,
        )
        state, losses = self._run_steps(
            state,
            tf.constant(inputs.passes, tf.int32),
            tf.constant(float(done), tf.float32),
            tf.convert_to_tensor(rates),
            *inputs.tensors,
        )
        # Read at once, which waits for the call's end: the feed may write there then.
        return state, losses.numpy()[: inputs.steps].tolist()

    def _model_weights(
        self, state: OptimizerState, done: int
    ) -> dict[str, NDArray[np.float32]]:
        vector = state.weights.numpy()
        if self._spec.ema and done:
            # The average starts at zero: undo that bias.
            vector = state.average.numpy() / (1 - self._spec.ema**done)
        return {
            name: array.copy()
            for name, array in self._architecture.unpack(
                vector.astype(np.float32)
            ).items()
        }


def _row_weights(
    target: NDArray[np.float32], *, spec: TrainSpec
) -> NDArray[np.float32]:
    """The loss weight of each row, from the declared class weights."""
    if spec.class_weights is None:
        return np.ones(len(target), dtype=np.float32)
    weights = np.asarray(spec.class_weights, dtype=np.float32)
    codes = np.where(np.isfinite(target), target, 0).astype(np.int64)
    return weights[np.clip(codes, 0, spec.classes - 1)]
