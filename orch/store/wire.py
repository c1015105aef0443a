"""What runs between a command on an open socket and its answer?

redis-py opens, encrypts and greets a connection over asyncio's streams. Then the socket is taken over: bytes
go out in one write, and come in without a stream, a task or a timeout's context between them and the parser.
For a call that asks for little that is a third of its price in Python.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - a protocol is what asyncio itself speaks to a socket with
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError
from typing_extensions import override

_NOT_YET = object()


class Wire(asyncio.Protocol):
    """One socket; one command at a time."""

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        *,
        reply_error: Callable[[str], Exception],
        encoding_errors: str,
        timeout_s: float | None,
    ) -> None:
        """Takes the socket over from whatever protocol it had; nothing may be under way on it."""
        self._transport = transport
        self._below = transport.get_protocol()
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=reply_error,
            encoding="utf-8",
            errors=encoding_errors,
            notEnoughData=_NOT_YET,
        )
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[Any] | None = None
        self._is_spoilt = False
        transport.set_protocol(self)

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing came that nobody asked for."""
        return not self._is_spoilt and not self._transport.is_closing()

    async def ask(self, command: bytes) -> Any:
        """Sends one command; its reply, an error of the server as it is. After anything else the socket is of
        no use any more.

        Raises:
            RedisConnectionError: the socket is closed, or was before an answer came.
            RedisTimeoutError: none came in time.
        """
        if not self.is_quiet:
            raise RedisConnectionError("the server closed the connection")
        self._waiter = waiter = self._loop.create_future()
        self._transport.write(command)
        if self._timeout_s is None:
            return await waiter
        late = self._loop.call_later(self._timeout_s, self._give_up, waiter)
        try:
            return await waiter
        finally:
            late.cancel()

    # -- what the socket tells

    @override
    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        try:
            reply = self._parser.gets()
        except InvalidResponse as error:
            self._spoil(error)
            return
        if reply is _NOT_YET and self._waiter is not None:
            return
        waiter, self._waiter = self._waiter, None
        if waiter is None or self._parser.has_data():
            # More than was asked for: whose answer the next bytes are would be a guess.
            self._is_spoilt = True
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)

    @override
    def eof_received(self) -> None:
        # Nothing returned: the transport closes itself.
        self._spoil(None)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._spoil(exc)
        # Who closes the socket waits for the protocol that it began with.
        self._below.connection_lost(exc)

    # -- no answer

    def _give_up(self, waiter: asyncio.Future[Any]) -> None:
        if not waiter.done():
            waiter.set_exception(RedisTimeoutError("no answer in time"))

    def _spoil(self, cause: Exception | None) -> None:
        self._is_spoilt = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            error = RedisConnectionError("the server closed the connection")
            error.__cause__ = cause
            waiter.set_exception(error)
