"""What stands where redis-py's client would: `Connection(…, client=factory)` cannot tell the difference.

One client is one logical socket. On connecting, and again after the server started anew, it greets the
server before its next command, as the sockets of a real pool do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
from redis.exceptions import ConnectionError as RedisConnectionError

from orch.ports import Clock
from orch.store.connection import CALL_DEADLINE_MS, Connection
from orch.store.library import SCHEMA, library
from tests.sim.model.reading import parse_read
from tests.sim.model.server import ModelServer, Waiter

_BLOCKING = frozenset(("XREAD", "XREADGROUP"))


class ModelClient:
    """A client of a model server; `greet` runs on every new connection."""

    def __init__(self, server: ModelServer, greet: Callable[[], None] | None = None) -> None:
        self._server = server
        self._greet = greet
        self._session = -1
        self._waiters: list[Waiter] = []

    async def execute_command(self, *command: str | int | float) -> Any:
        """One command; only a blocking read waits, on the loop's clock."""
        self._connect()
        if str(command[0]).upper() in _BLOCKING:
            return await self._read(*command)
        return self._server.execute(*command)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Ends the connection."""
        self.disconnect()

    def disconnect(self) -> None:
        """What the server sees when the process dies or the network closes: nothing more is sent here.

        A frozen process does not disconnect: what it is blocked on, it still gets.
        """
        waiters, self._waiters = self._waiters, []
        self._session = -1
        for waiter in waiters:
            self._server.forget(waiter)
            waiter.error = RedisConnectionError("Connection closed.")
            waiter.done.set()

    def _connect(self) -> None:
        self._server.check_reachable()
        if self._session != self._server.session:
            if self._greet is not None:
                self._greet()
            self._session = self._server.session

    async def _read(self, *command: str | int | float) -> list[Any]:
        reply: list[Any] = self._server.execute(*command)
        read = parse_read(self._server.space, [str(word) for word in command])
        if reply or read.block_ms is None:
            return reply
        waiter = self._server.wait(read)
        self._waiters.append(waiter)
        try:
            # BLOCK 0 waits for ever.
            with anyio.move_on_after(read.block_ms / 1000 if read.block_ms else None):
                await waiter.done.wait()
        finally:
            self._server.forget(waiter)
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if waiter.error is not None:
            raise waiter.error
        return waiter.reply


def greet(server: ModelServer, connection: Connection) -> None:
    """What `Connection` says on every new socket: the library, if it is missing, then `hello`."""
    if not server.has_functions:
        server.execute("FUNCTION", "LOAD", "REPLACE", library().code)
    prefix, seen = connection.keys.prefix, connection.watermark.incarnation
    hello = library().function("hello")
    connection.greeted(server.execute("FCALL", hello, 1, prefix, seen, "", SCHEMA))


def connect_model(
    server: ModelServer, clock: Clock, *, shard: int = 0, deadline_ms: int = CALL_DEADLINE_MS
) -> Connection:
    """A connection to a model server, greeted before its first command."""

    def client(_socket_timeout_ms: int) -> Any:
        return ModelClient(server, lambda: greet(server, connection))

    connection = Connection("model://", clock, shard=shard, client=client, deadline_ms=deadline_ms)
    return connection
