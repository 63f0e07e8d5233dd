"""A file that is there whole and survives a power cut, or is not there at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO


class Writing:
    """A file on its way to `path`, under another name beside it until it is finished.

        with Writing(path) as raw:
            raw.write(content)

    `finish` syncs the file, renames it and syncs the folder; `drop` leaves nothing.
    Raises OSError, such as for a full disk; what was at `path` before stays then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        self.raw: BinaryIO = self._spare.open("xb")

    def __enter__(self) -> BinaryIO:
        return self.raw

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.drop()

    def finish(self) -> None:
        try:
            with self.raw:
                self.raw.flush()
                os.fsync(self.raw.fileno())
            self._spare.replace(self._path)
        except BaseException:
            self.drop()
            raise
        _sync(self._path.parent)

    def drop(self) -> None:
        self._spare.unlink(missing_ok=True)
        with suppress(OSError):  # what was not written yet does not fit either
            self.raw.close()


def _sync(folder: Path) -> None:
    """Makes a rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
