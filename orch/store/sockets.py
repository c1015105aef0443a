"""How does a command reach the server with little else on its way?

redis-py's connections open, authenticate, speak and fail. What its client and its pool do besides for each
command (locks, a condition, a task that writes, figures that nobody reads) costs more than most calls, so
sockets are lent here instead: one caller has a socket from its command to the answer, and a socket that
gave anything but an answer is closed. Retries, deadlines and greetings are `connection.py`.
"""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import anyio
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio import UnixDomainSocketConnection as UnixConnection
from redis.asyncio.connection import AbstractConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from typing_extensions import override

from contracts import limits
from orch.addresses import address_of
from orch.store.whereabouts import Whereabouts

_AT_ONCE_BYTES_MAX: Final = 16 * limits.KIB
"""What is written without waiting: less than asyncio buffers, and nothing else is in the buffer."""


_IN_C: Final = HiredisRespSerializer()


class _Prompt(AbstractConnection):
    """A connection that packs in C, and writes a small command without a task and a timer for it."""

    @override
    def pack_command(self, *args: Any) -> list[bytes]:
        try:
            packed: list[bytes] = _IN_C.pack(*args)
        except UnicodeEncodeError:
            # Bytes that are no UTF-8 travel as lone surrogates, which only redis-py's Python encodes.
            packed = super().pack_command(*args)
        return packed

    @override
    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        writer = self._writer
        if (
            writer is None
            or self.health_check_interval
            or sum(map(len, command)) > _AT_ONCE_BYTES_MAX
        ):
            await super().send_packed_command(command, check_health)
            return
        try:
            writer.writelines(command)
        except BaseException:
            await self.disconnect(nowait=True)
            raise


class _Led(_Prompt):
    """A connection whose server may have to be found first."""

    def __init__(self, *, whereabouts: Whereabouts | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._whereabouts = whereabouts

    @override
    async def _connect(self) -> None:
        if self._whereabouts is not None:
            found = await self._whereabouts.find()
            vars(self).update(host=found.host, port=found.port)
        await super()._connect()  # type: ignore[safe-super, no-untyped-call]  # that of the class beside


class _Tcp(_Led, Connection): ...


class _Tls(_Led, SSLConnection): ...


class _Unix(_Prompt, UnixConnection): ...


_PROMPT: Final = MappingProxyType({Connection: _Tcp, SSLConnection: _Tls, UnixConnection: _Unix})


class Sockets(ConnectionPool):
    """At most `max_connections` sockets; who finds none waits `timeout` seconds at most."""

    def __init__(
        self, *, timeout: float, connection_class: type[Any] = Connection, **options: Any
    ) -> None:
        super().__init__(connection_class=_PROMPT[connection_class], **options)
        self._timeout_s = timeout

    @classmethod
    def to(cls, url: str, prefix: str, **options: Any) -> Sockets:
        """Sockets to the server that the URL names, or that it leads to for keys of this prefix."""
        address = address_of(url)
        if address is not None:
            options["whereabouts"] = Whereabouts(address, prefix)
        sockets: Sockets = cls.from_url(address.url if address else url, **options)
        return sockets

    @cached_property
    def _room(self) -> anyio.Semaphore:
        # Made in the loop that uses it; the pool itself may be older.
        return anyio.Semaphore(self.max_connections, fast_acquire=True)

    async def lend(self) -> AbstractConnection:
        """A socket that is open and greeted, to be given back."""
        await self._wait_for_room()
        socket: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]  # redis-py's pool is not typed
        try:
            await _be_ready(socket)
        except BaseException:
            await socket.disconnect(nowait=True)
            self.give_back(socket)
            raise
        return socket

    def give_back(self, socket: AbstractConnection) -> None:
        """The socket is free for others."""
        self._in_use_connections.remove(socket)
        self._available_connections.append(socket)
        self._room.release()

    async def _wait_for_room(self) -> None:
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(self._timeout_s):
                await self._room.acquire()
                return
            raise RedisConnectionError("no socket became free in time") from None


async def _be_ready(socket: AbstractConnection) -> None:
    if socket.is_connected:
        # Something to read before anything was asked: the server closed it while nobody looked.
        if not await socket.can_read():
            return
        await socket.disconnect()
    await socket.connect()


class Client(Redis):
    """redis-py's client over lent sockets; every command goes through `execute_command`."""

    def __init__(self, sockets: Sockets) -> None:
        super().__init__(connection_pool=sockets)
        self._sockets = sockets

    @override
    async def execute_command(self, *command: Any, **_options: Any) -> Any:
        """One command, once; the reply as redis-py's own client gives it."""
        socket = await self._sockets.lend()
        try:
            await socket.send_command(*command)
            reply = await socket.read_response()
        finally:
            self._sockets.give_back(socket)
        understood = self.response_callbacks.get(command[0])
        return reply if understood is None else understood(reply)
