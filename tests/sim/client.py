"""`SimClient` is what `Connection(client=…)` gets: a pool of sockets to the simulated server.

Every fresh socket is greeted by the product's own `Connection._greet`, and dropped when anything but an
answer comes of it, as redis-py does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.sim.history import Call, verb_of
from tests.sim.server import Command, Link, Message, SimServer, Socket, split_block
from tests.sim.timers import SimHandle

CONNECT_TIMEOUT_S = 2.0
_CALLBACKS = redis.Redis(protocol=2).response_callbacks


class _Greeted:
    """A fresh socket, as `Connection._greet` writes to it."""

    def __init__(self, send: Callable[[Command], Awaitable[Any]]) -> None:
        self._send = send
        self._command: Command = []

    async def on_connect(self) -> None:
        """Nothing to authenticate."""

    async def send_command(self, *command: str | int) -> None:
        """Written; the reply is read next."""
        self._command = list(command)

    async def read_response(self) -> Any:
        """The reply to it."""
        return await self._send(self._command)


class SimClient:
    """redis.asyncio.Redis, as far as Connection and BlockingReader use it."""

    def __init__(self, server: SimServer, link: Link, timeout_ms: float) -> None:
        self._server = server
        self._link = link
        self._timeout_s = timeout_ms / 1000
        self._deadlines = server.deadlines(self._timeout_s)
        self._idle: list[Socket] = []
        self.greet: Callable[[Any], Awaitable[None]] | None = None

    async def execute_command(self, *command: str | int | float) -> Any:
        """One command; its socket is dropped when anything but an answer comes of it."""
        server, idle = self._server, self._idle
        socket = idle.pop() if idle else None
        if socket is None or socket.generation != server.generation:
            socket = await self._connect()
        message, timer, note = self._write(socket, list(command))
        try:
            reply = await message.future
        except ResponseError as error:
            server.history.returned(note, error)
            idle.append(socket)
            raise
        finally:
            timer.cancel()
            server.let_go(message)
        if note is not None:
            server.history.returned(note, reply)
        if message.heard is not None:
            message.heard()
        idle.append(socket)
        callback = None if server.backend.parsed else _CALLBACKS.get(str(command[0]))
        return reply if callback is None else callback(reply)

    async def aclose(self, close_connection_pool: bool = True) -> None:
        """Every socket is closed."""
        self._idle.clear()

    async def _connect(self) -> Socket:
        server = self._server
        if self._link.cut == "hole":
            await asyncio.sleep(min(CONNECT_TIMEOUT_S, self._timeout_s))
            raise RedisTimeoutError("Timeout connecting to server")
        await asyncio.sleep(server.latency_s())
        if not server.up or self._link.cut:
            raise RedisConnectionError("Error 111 connecting: Connection refused")
        socket = Socket(server.generation)
        if self.greet is not None:
            await self.greet(_Greeted(lambda command: self._exchange(socket, command)))
        return socket

    async def _exchange(self, socket: Socket, command: Command) -> Any:
        message, timer, note = self._write(socket, command)
        server = self._server
        try:
            reply = await message.future
        except ResponseError as error:
            server.history.returned(note, error)
            raise
        finally:
            timer.cancel()
            server.let_go(message)
        server.history.returned(note, reply)
        return reply

    def _write(self, socket: Socket, full: Command) -> tuple[Message, SimHandle, Call | None]:
        server, loop = self._server, self._server.loop
        if socket.generation != server.generation:
            raise RedisConnectionError("Connection closed by server")
        command, block_ms, verb = full, None, verb_of(full)
        if not verb:
            command, block_ms = split_block(full)
        message = Message(
            self._link, socket, command, verb, block_ms, self._timeout_s,
            loop.create_future(), copy_context(),
        )  # fmt: skip
        timer = loop.call_in_time(self._deadlines, message.expire, message.context, message.thread)
        note = None
        if verb and verb != "beat":
            note = server.history.invoked(self._link.process.name, command)
        server.send(message)
        return message, timer, note
