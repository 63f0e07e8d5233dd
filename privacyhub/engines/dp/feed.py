"""Prepares the arrays of the next training steps, in a background thread.

A chunk holds a fixed number of steps: rows gathered from memory, weights that mask
padding, and noise. While one chunk is computed the next is prepared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.noise import NoiseSource
from privacyhub.engines.dp.sampling import PoissonSampler, UnitRows
from privacyhub.engines.prepare.encoding import EncodedTable

_ROWS_AT_ONCE = 4096
# TensorFlow takes arrays that begin at a multiple of this without copying them.
_ALIGNED_TO = 64
# One chunk is computed while the next is prepared.
_CHUNKS_AT_ONCE = 2

Ready = TypeVar("Ready")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Inputs of up to S steps; the first `steps` of them are to be run.

    A step's rows lie in one pass or more (see `sampling.Batches.padded`):
    features [passes, R, features], ids [passes, R, embeddings], feature_squares (each
    row's squared norm), target and row_weight [passes, R] with R = width * rows per
    unit. drawn [passes, width]: 1 for a unit of the batch, 0 for padding; [passes, 0]
    where nobody counts units. ends_step [passes]: whether a pass is its step's last;
    those from `passes` on are of no step. noise [S, noise columns], or [S, 1] without
    noise. The arrays of the chunk after the next one are in the same memory.
    """

    steps: int
    passes: int
    features: NDArray[np.float32]
    feature_squares: NDArray[np.float32]
    ids: NDArray[np.int32]
    target: NDArray[np.float32]
    row_weight: NDArray[np.float32]
    drawn: NDArray[np.float32]
    ends_step: NDArray[np.bool_]
    noise: NDArray[np.float32]


class Feed:
    """Draws chunks of Poisson batches from an encoded table.

    A row that holds a number that is not finite takes part in the draw like any other
    and has weight 0: its gradient counts as zero.
    """

    def __init__(
        self,
        *,
        data: EncodedTable,
        target: NDArray[np.float32],
        units: UnitRows,
        sampler: PoissonSampler,
        row_weight: NDArray[np.float32],
        noise: NoiseSource | None,
        noise_columns: int,
        steps_a_chunk: int,
        width: int,
        marks_units: bool,
    ) -> None:
        self._data = data
        self._target = target
        self._units = units
        self._sampler = sampler
        self._noise = noise
        self._noise_columns = noise_columns
        self._marks_units = marks_units
        self._steps = steps_a_chunk
        self._width = width
        # Room for the batches that need a second pass; grows when they are more.
        self._passes = steps_a_chunk + 2 + steps_a_chunk // 8
        self._kept = [_Kept() for _ in range(_CHUNKS_AT_ONCE)]
        finite = np.isfinite(data.features).all(axis=1) & np.isfinite(target)
        self._all_finite = bool(finite.all())
        self._finite = finite
        self._squares = _squared_norms(data.features)
        self._row_weight = np.where(finite, row_weight, 0).astype(np.float32)

    def chunks(
        self, sizes: Sequence[int], *, ready: Callable[[Chunk], Ready]
    ) -> Generator[Ready, None, None]:
        """What `ready` makes of a chunk, for each number of steps in `sizes`."""
        kept = cycle(self._kept)

        def prepare(size: int) -> Ready:
            return ready(self._prepare(size, next(kept)))

        with ThreadPoolExecutor(max_workers=1) as pool:
            waiting = [pool.submit(prepare, size) for size in sizes[:1]]
            for size in [*sizes[1:], None]:
                made = waiting.pop().result()
                if size is not None:
                    waiting.append(pool.submit(prepare, size))
                yield made

    def _prepare(self, steps: int, kept: _Kept) -> Chunk:
        drawn, passes_of = self._sampler.draw(steps).padded(self._width)
        passes = len(drawn)
        self._passes = max(self._passes, passes)
        drawn = np.pad(drawn, ((0, self._passes - passes), (0, 0)), constant_values=-1)
        ends_step = np.zeros(self._passes, dtype=np.bool_)
        ends_step[np.cumsum(passes_of) - 1] = True
        rows = self._units.rows[drawn]
        rows[drawn < 0] = -1
        present = rows >= 0
        flat = rows.reshape(self._passes, -1)
        weight = np.take(self._row_weight, flat, mode="wrap")
        if self._units.max_rows > 1:
            # A unit's gradient is the mean of its rows' gradients.
            weight /= np.repeat(
                np.maximum(present.sum(axis=2), 1), self._units.max_rows, axis=1
            )
        weight[flat < 0] = 0
        features = kept.array("features", (*flat.shape, self._data.features.shape[1]))
        np.take(self._data.features, flat, axis=0, mode="wrap", out=features)
        squares = np.take(self._squares, flat, mode="wrap")
        target = np.take(self._target, flat, mode="wrap")
        if self._units.max_rows > 1:
            # A padding row shares its unit's norm: it must not overflow there.
            features[flat < 0] = 0
            squares[flat < 0] = 0
        if not self._all_finite:
            spoiled = ~self._finite[flat]
            features[spoiled] = 0
            squares[spoiled] = 0
            target[spoiled] = 0
        if self._noise is None:
            noise = np.zeros((self._steps, 1), dtype=np.float32)
        else:
            noise = kept.array("noise", (self._steps, self._noise_columns))
            self._noise(noise)
        return Chunk(
            steps=steps,
            passes=passes,
            features=features,
            feature_squares=squares,
            ids=self._data.ids[flat],
            target=target,
            row_weight=weight,
            drawn=(drawn[:, : self._width * self._marks_units] >= 0).astype(np.float32),
            ends_step=ends_step,
            noise=noise,
        )


class _Kept:
    """The large arrays of one chunk, kept for a later one.

    New memory takes the system as long to hand out as the rows take to gather.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.float32]] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array of that shape, of any content."""
        known = self._arrays.get(name)
        if known is None or known.shape != shape:
            known = self._arrays[name] = _aligned(shape)
        return known


def _aligned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    size = 4 * math.prod(shape)
    memory = np.empty(size + _ALIGNED_TO, dtype=np.uint8)
    first = -memory.ctypes.data % _ALIGNED_TO
    return memory[first : first + size].view(np.float32).reshape(shape)


def _squared_norms(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row's squared norm, summed in double precision; infinite past its range."""
    squares = np.empty(len(features), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(features), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            wide = features[rows].astype(np.float64)
            squares[rows] = np.einsum("ij,ij->i", wide, wide)
    return squares
