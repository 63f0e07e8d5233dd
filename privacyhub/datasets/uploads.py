"""Uploads are sealed from their first byte: no plaintext is spooled to a disk.

Django's own handlers would write large files to the temporary folder in the clear.
"""

from __future__ import annotations

import io
import secrets
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload

from privacyhub.datasets import storage
from privacyhub.engines.tables import SealedReader, SealedWriter

CHUNK = 2**20


class SealedUpload(UploadedFile):
    """An uploaded file that lies sealed in the store; `open_plain` reads it."""

    def __init__(self, *, stored_as: str, key: bytes, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stored_as = stored_as
        self.key = key

    def open_plain(self) -> BinaryIO:
        return open_sealed(self.stored_as, key=self.key)

    def discard(self) -> None:
        """Forget the file: its key goes with this object."""
        storage.remove(self.stored_as)


def open_sealed(name: str, *, key: bytes) -> BinaryIO:
    """A seekable, decrypting, buffered reader of a file in the store."""
    raw = storage.path_of(name).open("rb")
    return io.BufferedReader(
        SealedReader(raw, key=key, context=name.encode()), buffer_size=CHUNK
    )


class SealingUploadHandler(FileUploadHandler):
    """Encrypts each chunk as it arrives and stops at the size limit."""

    chunk_size = CHUNK

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, *args: Any
    ) -> None:
        """Refuse before reading what is too large or has no user to belong to."""
        too_large = content_length > settings.MAX_UPLOAD_BYTES + CHUNK
        if too_large or not self._has_user():
            raise StopUpload(connection_reset=True)

    def _has_user(self) -> bool:
        request = self.request
        if request is None:
            return True
        if request.META.get("HTTP_AUTHORIZATION"):
            return True  # REST authenticates before it parses
        user = getattr(request, "user", None)
        return bool(user and user.is_authenticated)

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._name = storage.new_name("uploads", "sealed")
        self._key = secrets.token_bytes(32)
        self._raw = storage.path_of(self._name).open("wb")
        self._writer = SealedWriter(
            self._raw, key=self._key, context=self._name.encode()
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.MAX_UPLOAD_BYTES:
            self._drop()
            raise StopUpload(connection_reset=True)
        self._writer.write(raw_data)

    def file_complete(self, file_size: int) -> SealedUpload:
        self._writer.close()
        self._raw.close()
        return SealedUpload(
            stored_as=self._name,
            key=self._key,
            name=self.file_name,
            content_type=self.content_type,
            size=file_size,
            charset=self.charset,
        )

    def upload_interrupted(self) -> None:
        self._drop()

    def _drop(self) -> None:
        if hasattr(self, "_raw"):
            self._raw.close()
            storage.remove(self._name)
