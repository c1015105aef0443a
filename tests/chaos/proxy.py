"""What can go wrong between one process and the server, and how is exactly that made to happen?

A TCP proxy with one port for each link, so that every process has a network of its own. A fault is armed on
a link and takes effect at the next bytes that pass; it is counted when it took effect, not when it was
armed. Nothing here draws chance: the caller's seed decides which link, which fault, how long.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, SocketStream, TaskGroup

Target: TypeAlias = str | tuple[str, int] | None
"""Where the server is: a socket's path, host and port, or nowhere."""
Once: TypeAlias = Literal["reset_before", "lost_reply", "cut_request", "cut_reply"]
"""Ends the connection at its next bytes: before the request went out, after it was carried out (the reply
is lost), in the middle of a request, in the middle of a reply."""
Way: TypeAlias = Literal["up", "down"]

ONCE: Final[tuple[Once, ...]] = ("reset_before", "lost_reply", "cut_request", "cut_reply")
_WAY_OF: Final[dict[Once, Way]] = {
    "reset_before": "up", "cut_request": "up", "lost_reply": "down", "cut_reply": "down",
}  # fmt: skip
_GONE: Final = (
    anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError,
)  # fmt: skip
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST."""


def _reset(stream: SocketStream) -> None:
    """RST, at once: a process must not take a fault for a server's polite close, which anyio's is."""
    with suppress(OSError):
        raw = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        stream._transport.abort()  # type: ignore[attr-defined]  # anyio has no way to reset


@dataclass(eq=False)
class _Through:
    """One connection under way."""

    scope: anyio.CancelScope
    reset: bool = False
    """It ends by a fault; else as politely as the end that closed it."""


@dataclass(eq=False)
class Link:
    """One process's way to the server."""

    name: str
    target: Callable[[], Target]
    port: int = 0
    armed: Once | None = None
    delay_s: float = 0.0
    """Every chunk waits so long, each way."""
    holes: set[Way] = field(default_factory=set)
    """Bytes of this way are swallowed, and arrive late when the hole is closed, as TCP would resend them."""
    refused: bool = False
    took_effect: Counter[str] = field(default_factory=Counter)
    _filled: anyio.Event = field(default_factory=anyio.Event)
    _open: set[_Through] = field(default_factory=set)

    @property
    def url(self) -> str:
        """What the process behind it is given."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many pass through it now."""
        return len(self._open)

    def reset_all(self) -> None:
        """Ends every connection with a reset."""
        self.took_effect["reset_all"] += len(self._open)
        for way in list(self._open):
            way.reset = True
            way.scope.cancel()

    def fill(self) -> None:
        """Closes all holes; what was swallowed arrives."""
        self.holes.clear()
        self._filled.set()
        self._filled = anyio.Event()

    def heal(self) -> None:
        """No fault is left on it."""
        self.armed, self.delay_s, self.refused = None, 0.0, False
        self.fill()

    async def carry(self, client: SocketStream) -> None:
        """One connection, from the client's connect to a close of either end."""
        with suppress(*_GONE), anyio.CancelScope() as scope:
            async with client:
                through = _Through(scope)
                self._open.add(through)
                try:
                    await self._joined(client, through)
                finally:
                    self._open.discard(through)
                    if through.reset:
                        _reset(client)

    async def _joined(self, client: SocketStream, through: _Through) -> None:
        target = self.target()
        if self.refused or target is None:
            self.took_effect["refuse"] += self.refused
            through.reset = True
            return
        try:
            server = await _connect(target)
        except OSError:
            through.reset = True
            return
        async with server, anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump, client, server, "up", through)
            tasks.start_soon(self._pump, server, client, "down", through)

    async def _pump(
        self, source: ByteStream, sink: ByteStream, way: Way, through: _Through
    ) -> None:
        with suppress(*_GONE):
            while True:
                chunk = await source.receive()
                if self.delay_s:
                    self.took_effect["delay"] += 1
                    await anyio.sleep(self.delay_s)
                while way in self.holes:
                    self.took_effect[f"hole_{way}"] += 1
                    await self._filled.wait()
                if self.armed is not None and _WAY_OF[self.armed] == way:
                    through.reset = True
                    await self._cut(self.armed, chunk, sink)
                    break
                await sink.send(chunk)
        through.scope.cancel()

    async def _cut(self, fault: Once, chunk: bytes, sink: ByteStream) -> None:
        self.armed = None
        self.took_effect[fault] += 1
        if fault.startswith("cut"):
            await sink.send(chunk[: max(1, len(chunk) // 2)])


async def _connect(target: str | tuple[str, int]) -> SocketStream:
    if isinstance(target, str):
        return await anyio.connect_unix(target)
    return await anyio.connect_tcp(*target)


class Proxy:
    """All links of a run."""

    def __init__(
        self, target: Callable[[], Target], tasks: TaskGroup, stack: AsyncExitStack
    ) -> None:
        self._target = target
        self._tasks = tasks
        self._stack = stack
        self.links: dict[str, Link] = {}

    async def link(self, name: str) -> Link:
        """The link of this name; made when it is asked for first, with a port of its own."""
        if name not in self.links:
            link = Link(name, self._target)
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            await self._stack.enter_async_context(listener)
            link.port = int(listener.extra(SocketAttribute.local_port))
            self._tasks.start_soon(self._serve, listener, link)
            self.links[name] = link
        return self.links[name]

    async def _serve(self, listener: Listener[SocketStream], link: Link) -> None:
        await listener.serve(link.carry, self._tasks)

    def heal(self) -> None:
        """No fault is left on any link."""
        for link in self.links.values():
            link.heal()

    def reset_all(self) -> None:
        """Ends every connection of every link: the server behind them is another."""
        for link in self.links.values():
            link.reset_all()

    @property
    def took_effect(self) -> Counter[str]:
        """How often each fault happened, over all links."""
        return sum((link.took_effect for link in self.links.values()), Counter())


@asynccontextmanager
async def fault_proxy(target: Callable[[], Target]) -> AsyncIterator[Proxy]:
    """A proxy without links yet; leaving ends every connection."""
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        yield Proxy(target, tasks, stack)
        tasks.cancel_scope.cancel()
