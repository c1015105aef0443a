"""A link to a server that loses replies: the request arrives and is carried out, the answer does not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import anyio
from anyio.abc import ByteStream, SocketStream, TaskGroup

GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


@dataclass(slots=True)
class Link:
    """`lose` replies from now on, by closing the link or by silence."""

    url: str
    lose: int = 0
    how: Literal["close", "silence"] = "close"
    lost: int = 0

    async def _pump(self, source: ByteStream, sink: ByteStream, *, replies: bool) -> None:
        with contextlib.suppress(*GONE):
            while True:
                chunk = await source.receive()
                if replies and self.lose:
                    self.lose -= 1
                    self.lost += 1
                    if self.how == "close":
                        break
                    continue
                await sink.send(chunk)
        with contextlib.suppress(*GONE):
            await source.aclose()
            await sink.aclose()

    async def serve(self, client: SocketStream, target: str) -> None:
        """Carries one client's bytes to the server and back."""
        async with (
            client,
            await _reach(target) as server,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(lambda: self._pump(client, server, replies=False))
            tasks.start_soon(lambda: self._pump(server, client, replies=True))


@asynccontextmanager
async def lossy_link(server_url: str, home: Path) -> AsyncIterator[Link]:
    """A Unix socket that leads to the server's socket or port."""
    link = Link(f"unix://{home / 'link.sock'}")
    listener = await anyio.create_unix_listener(home / "link.sock")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(_listen, listener, link, server_url, tasks)
        yield link
        tasks.cancel_scope.cancel()


async def _reach(server_url: str) -> SocketStream:
    parts = urlsplit(server_url)
    if parts.scheme == "unix":
        return await anyio.connect_unix(unquote(parts.path))
    return await anyio.connect_tcp(parts.hostname or "", parts.port or 0)


async def _listen(
    listener: anyio.abc.Listener[SocketStream], link: Link, target: str, tasks: TaskGroup
) -> None:
    await listener.serve(lambda client: link.serve(client, target), tasks)
