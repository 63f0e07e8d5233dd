"""An encrypted container for uploads: written chunk by chunk, read at any position.

Layout: `magic (8) | chunk size (4, big endian) | salt (32) | nonce prefix (7)`, then
chunks, each `ciphertext | tag (16)`. This is the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizar, "Online authenticated-encryption and its nonce-reuse
misuse-resistance" (CRYPTO 2015), as in Tink's AES-GCM streaming: the nonce of a chunk
is `prefix (7) | counter (4) | last (1)`, and header and context are authenticated with
each chunk. A chunk that is changed, moved, dropped or taken from another file fails its
tag; a file cut at a chunk's border lacks the chunk marked last. AES-256 runs under a
key derived for this file by HKDF-SHA256 from the given key and 32 random salt bytes, so
that one key may seal any number of files.

    with path.open("wb") as raw:
        with SealedWriter(raw, key=key, context=b"upload:7f3a") as sealed:
            for piece in pieces:
                sealed.write(piece)
    sealed.sha256, sealed.size
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from types import TracebackType
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
CHUNK_BYTES = 256 * 1024

_MAGIC = b"PHSEAL1\n"
_SALT_BYTES = 32
_PREFIX_BYTES = 7
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = len(_MAGIC) + 4 + _SALT_BYTES + _PREFIX_BYTES
_MIN_CHUNK, _MAX_CHUNK = 64 * 1024, 1024 * 1024
_LAST_COUNTER = 2**32 - 1


class SealedError(ValueError):
    """Sealed bytes were changed, cut, or sealed under another key or context."""


def seal(data: bytes, *, key: bytes, context: bytes) -> bytes:
    """One small message as `nonce (12) | ciphertext | tag`, for keys and settings.

    >>> unseal(seal(b"x", key=bytes(32), context=b"c"), key=bytes(32), context=b"c")
    b'x'
    """
    _check_key(key)
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, context)


def unseal(data: bytes, *, key: bytes, context: bytes) -> bytes:
    """The message that `seal` was given, or `SealedError`."""
    _check_key(key)
    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as error:
        raise SealedError("These sealed bytes do not open with this key.") from error


class SealedWriter:
    """Encrypts what is written to it into `raw`; the plaintext touches no disk.

    `size` counts plaintext bytes, `sha256` is the hex digest of every byte written to
    `raw` so far; both are final after `close`, which does not close `raw`. Leaving a
    `with` block by an exception does not finish the file: it cannot be read then.
    """

    def __init__(
        self,
        raw: BinaryIO,
        *,
        key: bytes,
        context: bytes,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        if not _MIN_CHUNK <= chunk_bytes <= _MAX_CHUNK:
            raise ValueError("A chunk holds 64 KiB to 1 MiB.")
        salt = os.urandom(_SALT_BYTES)
        self._prefix = os.urandom(_PREFIX_BYTES)
        header = _MAGIC + struct.pack(">I", chunk_bytes) + salt + self._prefix
        self._aad = header + context
        self._cipher = _file_cipher(key=key, salt=salt)
        self._raw = raw
        self._chunk_bytes = chunk_bytes
        self._pending = bytearray()
        self._counter = 0
        self._digest = hashlib.sha256()
        self.size = 0
        self.closed = False
        self._emit(header)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        if self.closed:
            raise ValueError("The sealed file is closed.")
        self._pending += data
        self.size += len(data)
        # The last chunk is marked, so a full one waits until a byte follows it.
        if len(self._pending) > self._chunk_bytes:
            whole = (len(self._pending) - 1) // self._chunk_bytes * self._chunk_bytes
            with memoryview(self._pending) as view:
                for start in range(0, whole, self._chunk_bytes):
                    self._seal_chunk(view[start : start + self._chunk_bytes])
            del self._pending[:whole]
        return len(data)

    def close(self) -> None:
        if self.closed:
            return
        self._seal_chunk(self._pending, last=True)
        self._pending = bytearray()
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        self.closed = True

    def _seal_chunk(self, data: bytearray | memoryview, *, last: bool = False) -> None:
        if self._counter > _LAST_COUNTER:
            raise ValueError("The file is too large to be sealed.")
        nonce = _nonce(prefix=self._prefix, counter=self._counter, last=last)
        self._emit(self._cipher.encrypt(nonce, data, self._aad))
        self._counter += 1

    def _emit(self, data: bytes) -> None:
        self._digest.update(data)
        self._raw.write(data)


class SealedReader(io.RawIOBase):
    """The plaintext of a sealed file, seekable; one chunk is held in memory.

    Wrap it in `io.BufferedReader` or `pyarrow.PythonFile`. `SealedError` at the first
    chunk that was tampered with; the file's end is verified when it is opened. Closing
    it closes `raw`.
    """

    def __init__(self, raw: BinaryIO, *, key: bytes, context: bytes) -> None:
        super().__init__()
        self._raw = raw
        raw.seek(0)
        header = raw.read(_HEADER_BYTES)
        if len(header) != _HEADER_BYTES or not header.startswith(_MAGIC):
            raise SealedError("This is not a sealed file.")
        (self._chunk_bytes,) = struct.unpack_from(">I", header, len(_MAGIC))
        if not _MIN_CHUNK <= self._chunk_bytes <= _MAX_CHUNK:
            raise SealedError("This is not a sealed file.")
        salt = header[len(_MAGIC) + 4 : -_PREFIX_BYTES]
        self._prefix = header[-_PREFIX_BYTES:]
        self._aad = header + context
        self._cipher = _file_cipher(key=key, salt=salt)
        body = raw.seek(0, os.SEEK_END) - _HEADER_BYTES
        stride = self._chunk_bytes + _TAG_BYTES
        self._chunks = -(-body // stride)
        self.size = body - self._chunks * _TAG_BYTES
        if body < _TAG_BYTES or body - (self._chunks - 1) * stride < _TAG_BYTES:
            raise SealedError("The sealed file is cut short.")
        self._position = 0
        self._held = -1
        self._plain = b""
        self._load(self._chunks - 1)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
        position = base[whence] + offset
        if position < 0:
            raise ValueError("A position before the start of the file.")
        self._position = position
        return position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills `buffer` as far as the file goes, across chunks."""
        wanted = min(len(buffer), max(0, self.size - self._position))
        done = 0
        with memoryview(buffer).cast("B") as view:
            while done < wanted:
                index, start = divmod(self._position, self._chunk_bytes)
                self._load(index)
                piece = self._plain[start : start + wanted - done]
                view[done : done + len(piece)] = piece
                done += len(piece)
                self._position += len(piece)
        return done

    def close(self) -> None:
        if not self.closed:
            self._plain = b""
            self._raw.close()
        super().close()

    def _load(self, index: int) -> None:
        if index == self._held:
            return
        stride = self._chunk_bytes + _TAG_BYTES
        last = index == self._chunks - 1
        self._raw.seek(_HEADER_BYTES + index * stride)
        nonce = _nonce(prefix=self._prefix, counter=index, last=last)
        try:
            self._plain = self._cipher.decrypt(nonce, self._raw.read(stride), self._aad)
        except (InvalidTag, ValueError) as error:
            raise SealedError(
                "The sealed file was changed, cut, or has another key."
            ) from error
        self._held = index


def _file_cipher(*, key: bytes, salt: bytes) -> AESGCM:
    _check_key(key)
    derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=_MAGIC)
    return AESGCM(derive.derive(key))


def _nonce(*, prefix: bytes, counter: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", counter, last)


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"A key has {KEY_BYTES} bytes.")
