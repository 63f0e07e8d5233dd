"""The embedded broker: each message once, whole, oldest first."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection


@pytest.fixture
def channel(tmp_path: Path) -> Any:
    for name in ("messages", "control"):
        (tmp_path / name).mkdir()
    folder = str(tmp_path / "messages")
    options = {
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": str(tmp_path / "control"),
    }
    with Connection(
        "filesystem://",
        transport="jobs.folder_broker:Transport",
        transport_options=options,
    ) as connection:
        yield connection.channel()


def _all(channel: Any, queue: str) -> list[Any]:
    found = []
    while True:
        try:
            found.append(channel._get(queue))
        except Empty:
            return found


def test_messages_come_oldest_first_and_by_queue(channel: Any) -> None:
    for number in range(30):
        channel._put("light", number)
        channel._put("train", -number)
    assert _all(channel, "light") == list(range(30))
    assert _all(channel, "train") == [-number for number in range(30)]
    assert not list(Path(channel.data_folder_in).iterdir())


def test_readers_at_once_share_the_messages(channel: Any) -> None:
    got: list[list[Any]] = [[], [], [], []]
    done = threading.Event()

    def read(into: list[Any]) -> None:
        while not done.is_set() or channel._size("light"):
            into += _all(channel, "light")

    readers = [threading.Thread(target=read, args=(into,)) for into in got]
    for reader in readers:
        reader.start()
    for number in range(400):
        channel._put("light", {"number": number, "padding": "x" * 5000})
    done.set()
    for reader in readers:
        reader.join()
    numbers = [message["number"] for into in got for message in into]
    assert sorted(numbers) == list(range(400))


def test_a_message_that_is_none_is_passed_over(channel: Any) -> None:
    Path(channel.data_folder_in, "0.light.msg").write_text('{"half')
    channel._put("light", "whole")
    assert _all(channel, "light") == ["whole"]
