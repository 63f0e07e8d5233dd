"""The stream behind batches and noise is AES-256 in counter mode under a fresh key."""

from __future__ import annotations

import secrets

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.entropy import fresh_words, unit_interval

SIGNIFICANCE = 1e-6

# What AES-256 makes of the counters 0 and 1 under a key of zeros: H and the tag in test
# case 13 of McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)".
ZERO_KEY_BLOCKS = "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738b"


def test_the_words_are_the_ciphers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_bytes", bytes)
    assert fresh_words()(4).tobytes().hex() == ZERO_KEY_BLOCKS


def test_the_key_has_256_bits_of_the_operating_systems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[bytes] = []

    def token_bytes(count: int) -> bytes:
        drawn.append(np.random.default_rng(len(drawn)).bytes(count))
        return drawn[-1]

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    one, other = fresh_words()(8), fresh_words()(8)
    assert [len(key) for key in drawn] == [32, 32]
    assert (one != other).all()


def test_a_stream_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_bytes", bytes)
    whole = fresh_words()(37)
    words = fresh_words()
    parts = [words(count) for count in (1, 2, 0, 3, 31)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_words_are_the_callers_own() -> None:
    words = fresh_words()
    first = words(5)
    kept = first.copy()
    words(5)
    assert first.flags.writeable
    assert (first == kept).all()


def test_numbers_of_the_unit_interval_leave_out_zero_alone() -> None:
    edges = np.array([0, 2**11 - 1, 2**11, 2**64 - 1], dtype=np.uint64)
    assert unit_interval(edges).tolist() == [2**-53, 2**-53, 2**-52, 1.0]
    found = unit_interval(fresh_words()(1_000_000))
    assert stats.kstest(found, "uniform").pvalue > SIGNIFICANCE
