"""How does a command reach the server with little else on its way?

redis-py's connections open, authenticate and greet. What its client and its pool do besides for each command
(locks, a condition, a task that writes, figures that nobody reads) costs more than most calls, so sockets are
lent here instead: one caller has a socket from its command to the answer, and a socket that gave anything but
an answer is closed. What happens on it in between is `wire.py`; retries, deadlines and greetings are
`connection.py`.
"""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import anyio
import hiredis
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio import UnixDomainSocketConnection as UnixConnection
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, RedisError
from typing_extensions import override

from orch.addresses import address_of
from orch.store.whereabouts import Whereabouts, doubt_place
from orch.store.wire import Wire


class _Prompt(AbstractConnection):
    """A connection that is taken over once it is open and greeted."""

    _wire: Wire | None = None

    @property
    def is_usable(self) -> bool:
        """Open, and nothing came before anything was asked: the server closes what lies idle."""
        return self._wire is not None and self._wire.is_quiet

    def take_over(self) -> None:
        """From here on commands go by `ask` only."""
        assert self._writer is not None, "it is connected"
        self._wire = Wire(
            self._writer.transport,
            reply_error=self._parser.parse_error,
            encoding_errors=self.encoder.encoding_errors,
            timeout_s=self.socket_timeout,
        )

    async def ask(self, *command: Any) -> Any:
        """One command and its reply; a socket that gave none is closed.

        Raises:
            RedisError: what the server said instead, or that it said nothing.
        """
        assert self._wire is not None, "it was taken over"
        packed = self._packed(*command)
        try:
            reply = await self._wire.ask(packed)
        except BaseException:
            await self.disconnect(nowait=True)
            raise
        if isinstance(reply, RedisError):
            if isinstance(reply, RedisConnectionError):
                await self.disconnect(nowait=True)
            raise reply
        return reply

    def _packed(self, *command: Any) -> bytes:
        try:
            packed: bytes = hiredis.pack_command(command)
        except UnicodeEncodeError:
            # Bytes that are no UTF-8 travel as lone surrogates, which only redis-py's Python encodes.
            return b"".join(self.pack_command(*command))
        except TypeError as error:
            raise DataError(str(error)) from error
        return packed

    @override
    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._wire = None
        await super().disconnect(*args, **kwargs)


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

    async def lend(self) -> _Prompt:
        """A socket that is open and greeted, to be given back."""
        await self._wait_for_room()
        socket: _Prompt = self.get_available_connection()  # type: ignore[no-untyped-call]  # redis-py's pool is not typed
        try:
            await _be_ready(socket)
        except BaseException as error:
            if isinstance(error, OSError | RedisError):
                doubt_place(self.connection_kwargs)
            await socket.disconnect(nowait=True)
            self.give_back(socket)
            raise
        return socket

    def give_back(self, socket: _Prompt) -> None:
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


async def _be_ready(socket: _Prompt) -> None:
    if socket.is_usable:
        return
    await socket.disconnect()
    await socket.connect()  # type: ignore[no-untyped-call]  # redis-py's is not typed
    socket.take_over()


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
            reply = await socket.ask(*command)
        finally:
            self._sockets.give_back(socket)
        understood = self.response_callbacks.get(command[0])
        return reply if understood is None else understood(reply)
