"""The embedded broker: a folder of messages, one file each.

Kombu's own writes a message in place, where a reader may take it half-written, and
moves each through the system's folder for temporary files. Here both are a rename
within the folder: a message is whole or not there, and one reader gets it.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

_HIDDEN = "."  # at the front of a name: on its way in or out


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]
        folder = Path(self.data_folder_out)
        name = f"{time.monotonic_ns():020d}_{uuid.uuid4().hex}.{queue}.msg"
        hidden = folder / f"{_HIDDEN}{name}"
        hidden.write_text(dumps(payload))
        hidden.replace(folder / name)

    def _get(self, queue: str, timeout: Any = None) -> Any:
        """The oldest of the queue. Raises Empty where there is none."""
        folder, ending = self.data_folder_in, f".{queue}.msg"
        names = os.listdir(folder)  # noqa: PTH208 - names alone, many times a second
        waiting = [name for name in names if name.endswith(ending)]
        for name in sorted(waiting):
            if name.startswith(_HIDDEN):
                continue
            taken = Path(folder) / f"{_HIDDEN}{name}.{os.getpid()}"
            try:
                Path(folder, name).rename(taken)
            except FileNotFoundError:
                continue  # another reader's
            try:
                return loads(taken.read_text())
            except ValueError:
                continue  # of another hand: the reaper sends what is lost
            finally:
                taken.unlink(missing_ok=True)
        raise Empty


class Transport(filesystem.Transport):
    Channel = Channel
