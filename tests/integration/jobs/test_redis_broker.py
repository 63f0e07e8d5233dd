"""The broker on Redis: a worker outlives it, whatever it had not acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from jobs import messages
from tests.faults.servers import Redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


def test_a_channel_with_a_message_at_hand_closes_when_redis_is_gone(
    server: Redis,
) -> None:
    connection = Connection(server.url, transport="jobs.redis_broker:Transport")
    queue = connection.SimpleQueue("data")
    queue.put({"job": "1"})
    taken = queue.get(timeout=5)
    server.stop()
    connection.transport.client = None  # as a worker leaves a connection that it lost
    taken.channel.close()
    assert taken.channel.closed


@pytest.mark.service
def test_the_queue_travels_by_it() -> None:
    for connection in (
        messages.app.connection_for_read(),
        messages.app.connection_for_write(),
    ):
        assert connection.transport_cls == "jobs.redis_broker:Transport"
