from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.splitting import coins

KEY = bytes(range(32))


def test_share_of_held_out_units_is_binomial() -> None:
    held = coins(np.arange(20_000), key=KEY, holdout=0.2)
    tail = stats.binom(20_000, 0.2)
    assert min(tail.cdf(held.sum()), tail.sf(held.sum() - 1)) > 1e-6


def test_rows_of_a_unit_share_their_coin_in_any_version() -> None:
    units = np.array([3, 8, 3, 5, 8, 3])
    held = coins(units, key=KEY)
    assert held[0] == held[2] == held[5]
    assert held[1] == held[4]
    np.testing.assert_array_equal(coins(units[::-1], key=KEY)[::-1], held)


def test_integers_and_their_text_are_one_unit() -> None:
    np.testing.assert_array_equal(
        coins(np.arange(100), key=KEY), coins([str(n) for n in range(100)], key=KEY)
    )


def test_coin_is_the_keyed_hash_of_the_id_and_stays_what_it_was() -> None:
    ids = [f"unit:p{n}" for n in range(200)] + ["unit:Zoë", "unit:", "row:7", "unit:p3"]
    held = coins(ids, key=KEY, holdout=0.3)
    for one, tossed in zip(ids, held.tolist(), strict=True):
        digest = hashlib.blake2b(one.encode(), key=KEY, digest_size=8).digest()
        assert tossed == (int.from_bytes(digest, "big") < int(0.3 * 2**64))
    np.testing.assert_array_equal(coins(np.array(ids), key=KEY, holdout=0.3), held)
    # A fixed-width text ended at its last character that is not NUL.
    assert coins(["unit:p7\0"], key=KEY) == coins(["unit:p7"], key=KEY)


def test_long_id_takes_no_more_memory_than_itself() -> None:
    ids = [f"p{n}" for n in range(2_000)] + ["x" * 50_000]
    tracemalloc.start()
    try:
        coins(ids, key=KEY)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_another_key_gives_another_split() -> None:
    first = coins(np.arange(5000), key=KEY)
    second = coins(np.arange(5000), key=bytes(32))
    both = (first & second).mean()
    assert abs(both - 0.04) < 0.02


@pytest.mark.parametrize(("key", "holdout"), [(b"short", 0.2), (KEY, 0.0), (KEY, 1.0)])
def test_weak_key_and_empty_half_are_refused(key: bytes, holdout: float) -> None:
    with pytest.raises(ValueError, match=r"key of a split|held-out share"):
        coins(np.arange(3), key=key, holdout=holdout)
