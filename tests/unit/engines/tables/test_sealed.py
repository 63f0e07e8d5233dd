"""The sealed container: what goes in comes out, and nothing else does."""

from __future__ import annotations

import contextlib
import hashlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacyhub.engines.tables import (
    SealedError,
    SealedReader,
    SealedWriter,
    seal,
    unseal,
)

KEY = bytes(range(32))
CHUNK = 64 * 1024
HEADER = 51


def sealed(data: bytes, *, key: bytes = KEY, context: bytes = b"upload:1") -> bytes:
    raw = io.BytesIO()
    with SealedWriter(raw, key=key, context=context, chunk_bytes=CHUNK) as writer:
        writer.write(data)
    assert writer.size == len(data)
    assert writer.sha256 == hashlib.sha256(raw.getvalue()).hexdigest()
    return raw.getvalue()


def opened(
    blob: bytes, *, key: bytes = KEY, context: bytes = b"upload:1"
) -> SealedReader:
    return SealedReader(io.BytesIO(blob), key=key, context=context)


def pattern(size: int) -> bytes:
    return (b"0123456789abcdef-" * (size // 17 + 1))[:size]


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(0, 3 * CHUNK + 5) | st.sampled_from([CHUNK, 2 * CHUNK, CHUNK + 1]),
    cuts=st.lists(st.integers(0, 3 * CHUNK), max_size=4),
    start=st.integers(0, 3 * CHUNK),
    length=st.integers(0, 2 * CHUNK),
)
def test_sealed_round_trip_and_seek(
    size: int, cuts: list[int], start: int, length: int
) -> None:
    data = pattern(size)
    raw = io.BytesIO()
    with SealedWriter(raw, key=KEY, context=b"c", chunk_bytes=CHUNK) as writer:
        bounds = [0, *sorted(min(cut, size) for cut in cuts), size]
        for low, high in zip(bounds, bounds[1:], strict=False):
            writer.write(data[low:high])
    reader = io.BufferedReader(SealedReader(raw, key=KEY, context=b"c"))
    assert reader.read() == data
    reader.seek(start)
    assert reader.read(length) == data[start : start + length]
    assert reader.seek(0, io.SEEK_END) == size


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 2 * CHUNK + 100), bit=st.integers(0, 7))
def test_sealed_flipped_bit_is_refused(at: int, bit: int) -> None:
    blob = bytearray(sealed(pattern(2 * CHUNK + 40)))
    blob[at % len(blob)] ^= 1 << bit
    with pytest.raises(SealedError):
        opened(bytes(blob)).readall()


@pytest.mark.parametrize("cut", [1, 16, 56, 57, CHUNK, CHUNK + 16, CHUNK + 72])
def test_sealed_truncation_is_refused(cut: int) -> None:
    blob = sealed(pattern(2 * CHUNK + 40))
    with pytest.raises(SealedError):
        opened(blob[:-cut]).readall()


def test_sealed_cut_at_chunk_border_is_refused_when_opened() -> None:
    blob = sealed(pattern(3 * CHUNK))
    with pytest.raises(SealedError):
        opened(blob[: -(CHUNK + 16)])


def test_sealed_reordered_chunks_are_refused() -> None:
    blob = sealed(pattern(3 * CHUNK))
    stride = CHUNK + 16
    one, two = HEADER, HEADER + stride
    swapped = (
        blob[:one] + blob[two : two + stride] + blob[one:two] + blob[two + stride :]
    )
    assert len(swapped) == len(blob)
    with pytest.raises(SealedError):
        opened(swapped).readall()


def test_sealed_chunk_of_another_file_is_refused() -> None:
    mine, other = sealed(pattern(3 * CHUNK)), sealed(pattern(3 * CHUNK))
    end = HEADER + CHUNK + 16
    with pytest.raises(SealedError):
        opened(other[:HEADER] + mine[HEADER:end] + other[end:]).readall()


def test_sealed_other_key_or_context_is_refused() -> None:
    blob = sealed(b"x" * 100)
    with pytest.raises(SealedError):
        opened(blob, key=bytes(32))
    with pytest.raises(SealedError):
        opened(blob, context=b"upload:2")


def test_sealed_unfinished_file_is_refused() -> None:
    raw = io.BytesIO()
    with (
        contextlib.suppress(RuntimeError),
        SealedWriter(raw, key=KEY, context=b"c") as out,
    ):
        out.write(pattern(10 * CHUNK))
        raise RuntimeError
    with pytest.raises(SealedError):
        SealedReader(io.BytesIO(raw.getvalue()), key=KEY, context=b"c")


def test_sealed_holds_no_plaintext() -> None:
    assert b"CANARY-7261" not in sealed(b"CANARY-7261" * 9000)


def test_seal_small_message() -> None:
    blob = seal(b"secret", key=KEY, context=b"token")
    assert unseal(blob, key=KEY, context=b"token") == b"secret"
    for broken in (blob[:-1], b"", blob[:-1] + bytes([blob[-1] ^ 1])):
        with pytest.raises(SealedError):
            unseal(broken, key=KEY, context=b"token")
    with pytest.raises(SealedError):
        unseal(blob, key=KEY, context=b"other")
