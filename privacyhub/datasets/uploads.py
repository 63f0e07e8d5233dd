"""Uploads are sealed from their first byte: no plaintext is spooled to a disk.

Django's own handlers would write large files to the temporary folder in the clear.
A sealed file whose key nobody kept is noise, and its request removes it when it ends.
"""

from __future__ import annotations

import io
import secrets
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from privacyhub.datasets import storage
from privacyhub.datasets.errors import DataError
from privacyhub.engines.tables import SealedError, SealedReader, SealedWriter

CHUNK = 2**20


class UploadRefused(DataError, SuspiciousOperation):
    """A file that is refused before it is read: a 4xx in REST and on pages alike.

    Django makes `web.errors.bad_request` of a SuspiciousOperation, wherever it rises.
    """


class SealedUpload(UploadedFile):
    """An uploaded file that lies sealed in the store; `open_plain` reads it.

    The request closes it when it ends. Unless `keep` was called the file is gone then.
    """

    def __init__(self, *, stored_as: str, key: bytes, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stored_as = stored_as
        self.key = key
        self._kept = False

    def open_plain(self) -> BinaryIO:
        return open_sealed(self.stored_as, key=self.key)

    def keep(self) -> None:
        """A row names the file and holds its key now."""
        self._kept = True

    def discard(self) -> None:
        """Forget the file: its key goes with this object."""
        storage.remove(self.stored_as)

    def close(self) -> None:
        if not self._kept:
            self.discard()


def open_sealed(name: str, *, key: bytes) -> BinaryIO:
    """A seekable, decrypting, buffered reader of a file in the store.

    Raises SealedError where the file is missing, and later where it was changed.
    """
    try:
        raw = storage.path_of(name).open("rb")
    except FileNotFoundError as error:
        raise SealedError("The sealed file is missing.") from error
    return io.BufferedReader(
        SealedReader(raw, key=key, context=name.encode()), buffer_size=CHUNK
    )


class _Sealing:
    """A file on its way into the store; dropped unless it is finished."""

    def __init__(self) -> None:
        self.name = storage.new_name("uploads", "sealed")
        self.key = secrets.token_bytes(32)
        self._file = storage.writing(self.name)
        # A broken connection leaves no trace: Django calls no handler then.
        self._drop = weakref.finalize(self, self._file.drop)
        self._writer = SealedWriter(
            self._file.raw, key=self.key, context=self.name.encode()
        )

    def write(self, data: bytes) -> None:
        with self._dropped_on_error():
            self._writer.write(data)

    def drop(self) -> None:
        self._drop()

    @contextmanager
    def _dropped_on_error(self) -> Iterator[None]:
        """A full disk leaves nothing of the file, whoever still holds this object."""
        try:
            yield
        except BaseException:
            self.drop()
            raise

    def finish(self, **described: Any) -> SealedUpload:
        """The upload; `described` is its name, size and content type."""
        with self._dropped_on_error():
            self._writer.close()
            self._file.finish()
        self._drop.detach()
        return SealedUpload(stored_as=self.name, key=self.key, **described)


def seal(pieces: Iterable[bytes], *, name: str) -> SealedUpload:
    """Seal what the hub itself makes, such as the sample, as if it were uploaded."""
    sealing = _Sealing()
    size = 0
    for piece in pieces:
        sealing.write(piece)
        size += len(piece)
    return sealing.finish(name=name, size=size)


class SealingUploadHandler(FileUploadHandler):
    """Encrypts each chunk as it arrives and stops at the size limit."""

    chunk_size = CHUNK

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, *args: Any
    ) -> None:
        """Refuse before reading what is too large or has no user to belong to."""
        if not self._has_user():
            raise UploadRefused("Sign in first.", code="not_authenticated", status=403)
        if content_length > settings.MAX_UPLOAD_BYTES + CHUNK:
            raise _too_large()

    def _has_user(self) -> bool:
        request = self.request
        if request is None:
            return True
        if request.path.startswith("/api/"):
            return True  # REST authenticates before it parses
        user = getattr(request, "user", None)
        return bool(user and user.is_authenticated)

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._sealing = _Sealing()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.MAX_UPLOAD_BYTES:
            self._sealing.drop()
            raise _too_large()
        self._sealing.write(raw_data)

    def file_complete(self, file_size: int) -> SealedUpload:
        return self._sealing.finish(
            name=self.file_name,
            content_type=self.content_type,
            size=file_size,
            charset=self.charset,
        )

    def upload_interrupted(self) -> None:
        if hasattr(self, "_sealing"):
            self._sealing.drop()


def _too_large() -> UploadRefused:
    limit = settings.MAX_UPLOAD_BYTES // 2**20
    return UploadRefused(
        f"The file is larger than {limit:,} MB.", code="too_large", status=413
    )
