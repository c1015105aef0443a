"""A link to a server that knows one command from the next, and spoils those that a plan names.

`proxy.py` loses bytes; this one loses chosen commands and their replies: before they are carried out, after,
or in the middle of a frame. One command of a socket is under way at a time, which is how Orch sends them.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import anyio
from anyio.abc import SocketStream, TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

GONE: Final = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,
)
_LINES: Final = frozenset(b"+-:_#,(")
_BULKS: Final = frozenset(b"$=!")
_NESTED: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}
_AHEAD_MAX: Final = 64
"""Commands of a client that wait: it sends one at a time, and three when it connects."""

Words = Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one command: whether the server gets it, what comes back, whether the link goes."""

    name: str
    carried_out: bool
    answer: Callable[[bytes], bytes] = lambda _reply: b""
    closes: bool = True


RESET_BEFORE: Final = Fault("reset before the call", carried_out=False)
RESET_AFTER: Final = Fault("reset after the call", carried_out=True)
CUT: Final = Fault("cut in a frame", True, lambda reply: reply[: len(reply) // 2])
SILENCE: Final = Fault("silence after the call", carried_out=True, closes=False)
GARBAGE: Final = Fault("garbage after the call", True, lambda _reply: b"HTTP/1.1 400 Bad\r\n\r\n")


def said(text: str) -> Fault:
    """The server answers with this error, and carries nothing out."""
    return Fault(text, False, lambda _reply: f"-{text}\r\n".encode(), closes=False)


Plan = Callable[[Words], Fault | None]


def healthy(_words: Words) -> None:
    """The plan of a link that spoils nothing."""


def is_greeting(words: Words) -> bool:
    """Whether a new socket says this by itself."""
    return words[0] == b"CLIENT" or (words[0] == b"FCALL" and words[1].startswith(b"hello_"))


@dataclass(slots=True)
class FaultyLink:
    """A link and its plan, which a test may change at any time."""

    path: Path
    target: str
    plan: Plan = healthy
    plan_of_socket: Callable[[], Plan] | None = None
    """Instead of `plan`: one for each new socket."""
    seen: list[str] = field(default_factory=list)
    """Names of the commands that came, greetings left out."""

    @property
    def url(self) -> str:
        """Where a client connects."""
        return f"unix://{self.path}"

    def take_down(self) -> None:
        """From now on a connect is refused: the name is there, and nobody listens."""
        self.path.rename(self.path.with_suffix(".away"))
        with socket.socket(socket.AF_UNIX) as nobody:
            nobody.bind(str(self.path))

    def bring_up(self) -> None:
        """Undoes `take_down`."""
        self.path.with_suffix(".away").replace(self.path)

    async def listen(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is canceled; started when a connect is answered. The name is there before that."""
        self.path.unlink(missing_ok=True)
        listener = await anyio.create_unix_listener(self.path)
        async with listener:
            task_status.started()
            await listener.serve(self._serve)

    async def _serve(self, client: SocketStream) -> None:
        """Carries one client's commands; ends when either side is gone."""
        send, receive = anyio.create_memory_object_stream[tuple[Words, bytes]](_AHEAD_MAX)
        with suppress(*GONE):
            async with (
                client,
                send,
                receive,
                await anyio.connect_unix(self.target) as server,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_hear, client, send, tasks.cancel_scope)
                with suppress(*GONE):
                    await self._carry(client, server, receive)
                tasks.cancel_scope.cancel()

    async def _carry(
        self,
        client: SocketStream,
        server: SocketStream,
        commands: MemoryObjectReceiveStream[tuple[Words, bytes]],
    ) -> None:
        own = self.plan_of_socket() if self.plan_of_socket else None
        async for words, raw in commands:
            if not is_greeting(words):
                self.seen.append(words[0].decode())
            fault = (own or self.plan)(words)
            reply = b""
            if fault is None or fault.carried_out:
                await server.send(raw)
                reply = await _reply(server)
            answer = reply if fault is None else fault.answer(reply)
            if answer:
                await client.send(answer)
            if fault is not None and fault.closes:
                return


async def _hear(
    client: SocketStream,
    send: MemoryObjectSendStream[tuple[Words, bytes]],
    scope: anyio.CancelScope,
) -> None:
    """Takes commands in, also while the server waits in one: a client that goes ends its wait there."""
    buffer = b""
    with suppress(*GONE):
        while True:
            buffer += await client.receive()
            while (end := _command_end(buffer)) is not None:
                raw, buffer = buffer[:end], buffer[end:]
                await send.send((_words(raw), raw))
    scope.cancel()


async def _reply(server: SocketStream) -> bytes:
    """One whole reply; `receive` may bring it in many parts."""
    parts = [await server.receive()]
    while True:
        # A long reply is joined and looked through again only when its end may have come.
        if parts[-1].endswith(b"\r\n"):
            whole = b"".join(parts)
            if frame_end(whole, 0) == len(whole):
                return whole
            parts = [whole]
        parts.append(await server.receive())


def frame_end(data: bytes, at: int) -> int | None:
    """Where the RESP value that begins at `at` ends; None when not all of it is there."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    kind, end = data[at], line + 2
    if kind in _LINES:
        return end
    size = int(data[at + 1 : line])
    if kind in _BULKS:
        end += size + 2 if size >= 0 else 0
        return end if end <= len(data) else None
    for _ in range(size * _NESTED[kind]):
        found = frame_end(data, end) if end < len(data) else None
        if found is None:
            return None
        end = found
    return end


def _command_end(data: bytes) -> int | None:
    if not data:
        return None
    if data[:1] == b"*":
        return frame_end(data, 0)
    line = data.find(b"\r\n")  # as typed by hand: PING
    return None if line < 0 else line + 2


def _words(raw: bytes) -> list[bytes]:
    if raw[:1] != b"*":
        return raw.split()
    words, at = [], raw.index(b"\r\n") + 2
    while at < len(raw):
        line = raw.index(b"\r\n", at)
        size = int(raw[at + 1 : line])
        words.append(raw[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
    return words


@asynccontextmanager
async def faulty_link(server_url: str, home: Path) -> AsyncIterator[FaultyLink]:
    """A Unix socket that leads to the server's."""
    link = FaultyLink(home / "faulty.sock", unquote(server_url.removeprefix("unix://")))
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.listen)
        yield link
        tasks.cancel_scope.cancel()
