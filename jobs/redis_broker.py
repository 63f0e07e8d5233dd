"""The broker on Redis.

Kombu's own puts messages that were taken and not yet acknowledged back when it closes a
connection. Where Redis has gone away that asks a connection that is closed already, and
the error ends the worker. Nothing needs to be put back: the row of the job says what is
to be done, and the reaper sends another message.
"""

from __future__ import annotations

from kombu.transport import redis


class Channel(redis.Channel):
    do_restore = False


class Transport(redis.Transport):
    Channel = Channel
