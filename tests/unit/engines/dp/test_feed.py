"""Chunks are as drawn, for as long as they are computed."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

import numpy as np

from privacyhub.engines.dp.feed import Chunk, Feed
from privacyhub.engines.dp.noise import entropy_noise
from privacyhub.engines.dp.sampling import PoissonSampler, rows_as_units
from privacyhub.engines.prepare.encoding import bare_table

ROWS, WIDTH, STEPS = 500, 64, 6


def feed() -> Feed:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(ROWS, 9))
    target = features[:, 0].astype(np.float32)
    return Feed(
        data=bare_table(features, target),
        target=target,
        units=rows_as_units(ROWS),
        # Of a seed: a chunk of more passes than usual would have another shape.
        sampler=PoissonSampler(
            units=ROWS,
            sampling_probability=0.1,
            words=lambda count: generator.integers(2**64, size=count, dtype=np.uint64),
        ),
        row_weight=np.ones(ROWS, dtype=np.float32),
        noise=entropy_noise(),
        noise_columns=1000,
        steps_a_chunk=STEPS,
        width=WIDTH,
        marks_units=True,
    )


def as_is(chunk: Chunk) -> Chunk:
    return chunk


def arrays(chunk: Chunk) -> dict[str, Any]:
    held = {field.name: getattr(chunk, field.name) for field in fields(chunk)}
    return {name: np.copy(value) for name, value in held.items()}


def test_a_chunk_stays_as_it_is_while_the_next_is_prepared() -> None:
    for chunk in feed().chunks([STEPS] * 5, ready=as_is):
        before = arrays(chunk)
        time.sleep(0.05)  # the next one takes a few milliseconds
        for name, value in arrays(chunk).items():
            np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_chunks_have_rows_and_noise_of_their_own() -> None:
    kept = [arrays(chunk) for chunk in feed().chunks([STEPS] * 5, ready=as_is)]
    for one, other in zip(kept[2:], kept, strict=False):  # of the same memory
        assert (one["noise"] != other["noise"]).mean() > 0.99
        assert (one["features"] != other["features"]).mean() > 0.5  # others are padding
    for chunk in kept:
        present = chunk["row_weight"] > 0
        assert (chunk["features"][present][:, 0] == chunk["target"][present]).all()


def test_large_arrays_begin_where_tensorflow_need_not_copy_them() -> None:
    for chunk in feed().chunks([STEPS] * 3, ready=as_is):
        assert chunk.features.ctypes.data % 64 == 0
        assert chunk.noise.ctypes.data % 64 == 0
