"""The fault proxy does what its faults are called: judged by what the server received and the client saw."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream

from tests.chaos.proxy import Link, Once, fault_proxy

ENDS = (anyio.EndOfStream, anyio.BrokenResourceError)


class Server:
    """Answers each chunk with its double, and keeps what it was sent."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.news = anyio.Event()

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(10), suppress(anyio.BrokenResourceError):
                async for chunk in stream:
                    self.got.append(chunk)
                    self.news.set()
                    self.news = anyio.Event()
                    await stream.send(chunk * 2)

    async def wait_for(self, chunk: bytes) -> None:
        with anyio.fail_after(10):
            while chunk not in self.got:
                await self.news.wait()


@asynccontextmanager
async def a_link(tmp_path: Path) -> AsyncIterator[tuple[Link, Server]]:
    path, server = str(tmp_path / "s"), Server()
    async with (
        anyio.create_task_group() as tasks,
        await anyio.create_unix_listener(path) as listener,
    ):
        tasks.start_soon(listener.serve, server.serve)
        async with fault_proxy(lambda: path) as proxy:
            yield await proxy.link("one"), server
        tasks.cancel_scope.cancel()


async def connect(link: Link) -> SocketStream:
    return await anyio.connect_tcp("127.0.0.1", link.port)


async def until_the_end(client: SocketStream) -> bytes:
    """What came before the connection broke."""
    seen = b""
    with anyio.fail_after(10), suppress(*ENDS):
        while True:
            seen += await client.receive()
    return seen


async def test_without_a_fault_bytes_pass_unchanged(tmp_path: Path) -> None:
    async with a_link(tmp_path) as (link, server), await connect(link) as client:
        await client.send(b"abcd")
        assert await client.receive() == b"abcdabcd"
        assert server.got == [b"abcd"]
        assert not link.took_effect


@pytest.mark.parametrize(
    ("fault", "arrived", "came_back"),
    [
        ("reset_before", [], b""),
        ("lost_reply", [b"abcd"], b""),
        ("cut_request", [b"ab"], b""),
        ("cut_reply", [b"abcd"], b"abcd"),
    ],
)
async def test_an_armed_fault_ends_one_connection_at_its_point(
    tmp_path: Path, fault: Once, arrived: list[bytes], came_back: bytes
) -> None:
    async with a_link(tmp_path) as (link, server), await connect(link) as client:
        link.armed = fault
        await client.send(b"abcd")
        seen = await until_the_end(client)
        if arrived:
            await server.wait_for(arrived[0])
        # A reset may overtake the bytes before it, as on any network.
        assert came_back.startswith(seen)
        assert server.got == arrived
        assert link.took_effect == {fault: 1}
        async with await connect(link) as again:
            await again.send(b"x")
            assert await again.receive() == b"xx"


async def test_a_fault_that_was_armed_but_met_no_bytes_is_not_counted(tmp_path: Path) -> None:
    async with a_link(tmp_path) as (link, _), await connect(link):
        link.armed = "lost_reply"
        link.heal()
        assert not link.took_effect


async def test_what_a_hole_swallowed_arrives_when_it_is_closed(tmp_path: Path) -> None:
    async with a_link(tmp_path) as (link, server), await connect(link) as client:
        link.holes = {"down"}
        await client.send(b"abcd")
        await server.wait_for(b"abcd")
        with anyio.move_on_after(0.05) as silence:
            await client.receive()
        assert silence.cancelled_caught
        link.fill()
        assert await client.receive() == b"abcdabcd"
        assert link.took_effect == {"hole_down": 1}


async def test_a_refused_link_lets_nobody_in_and_reset_all_throws_everybody_out(
    tmp_path: Path,
) -> None:
    async with a_link(tmp_path) as (link, server), await connect(link) as client:
        await client.send(b"a")
        assert await client.receive() == b"aa"
        link.refused = True
        link.reset_all()
        with pytest.raises(ENDS):
            await client.receive()
        async with await connect(link) as another:
            with pytest.raises(ENDS):
                await another.receive()
        assert server.got == [b"a"]
        assert link.took_effect == {"reset_all": 1, "refuse": 1}


async def test_each_process_has_a_link_of_its_own(tmp_path: Path) -> None:
    path, server = str(tmp_path / "s"), Server()
    async with (
        anyio.create_task_group() as tasks,
        await anyio.create_unix_listener(path) as listener,
    ):
        tasks.start_soon(listener.serve, server.serve)
        async with fault_proxy(lambda: path) as proxy:
            one, other = await proxy.link("one"), await proxy.link("other")
            assert one is await proxy.link("one")
            one.armed = "reset_before"
            async with await connect(other) as client:
                await client.send(b"a")
                assert await client.receive() == b"aa"
        tasks.cancel_scope.cancel()
