"""Sockets lent and given back: whole, one caller at a time, and none that anything went wrong on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.errors import Corrupt, Unavailable
from orch.store.connection import SOCKETS_MAX, Connection
from orch.store.embedded import private_server
from orch.store.sockets import Client, Sockets
from orch.system import SystemClock
from tests.store.injection import Injection

pytestmark = pytest.mark.first_answers  # links of its own, with faults of their own

CLOCK = SystemClock()


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[Connection]:
    async with private_server(tmp_path, appendfsync="no") as server:
        made = Connection(server.url, CLOCK, deadline_ms=2_000)
        yield made
        await made.aclose()


async def clients(connection: Connection) -> int:
    count: int = (await connection.execute("INFO", "clients"))["connected_clients"]
    return count


@pytest.mark.req("ADM-1")
@pytest.mark.parametrize(
    "value",
    ["", "word", "two words", "é\0\r\n", "\udcff\udc80", "x" * 70_000, "\udcff" * 70_000],
    ids=["empty", "word", "words", "bytes", "no UTF-8", "large", "large and no UTF-8"],
)
async def test_any_argument_reaches_the_server_as_it_was_given(
    connection: Connection, value: str
) -> None:
    await connection.execute("SET", "key", value)
    assert await connection.execute("GET", "key") == value
    assert await connection.execute("STRLEN", "key") == len(value.encode(errors="surrogateescape"))


async def test_numbers_travel_as_their_digits_and_what_is_none_of_these_stops(
    connection: Connection,
) -> None:
    for value, text in ((7, "7"), (-(2**53), str(-(2**53))), (0.25, "0.25")):
        await connection.execute("SET", "key", value)
        assert await connection.execute("GET", "key") == text
    wrong: Any = None
    with pytest.raises(Corrupt):
        await connection.execute("SET", "key", wrong)
    await connection.ping()


@pytest.mark.req("REA-3")
async def test_a_socket_that_the_server_closed_while_it_lay_idle_costs_no_call(
    connection: Connection, injection: Injection | None
) -> None:
    if injection is not None:
        pytest.skip("--timeouts: the link in front passes an end on only with the next command")

    async def pings() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(connection.ping)  # which is never repeated

    await pings()
    assert await clients(connection) == 4
    await connection.execute("CLIENT", "KILL", "TYPE", "normal")
    await pings()
    assert await clients(connection) == 4


@pytest.mark.req("EVT-3")
async def test_a_read_that_was_canceled_leaves_no_answer_for_the_next(
    connection: Connection,
) -> None:
    reader = connection.reader(60_000)
    await connection.execute("XADD", "stream", "1-1", "a", "b")
    with anyio.move_on_after(0.05):
        await reader.read("XREAD", "BLOCK", 60_000, "STREAMS", "stream", "$")
    assert await reader.read("XREAD", "STREAMS", "stream", "0") == {"stream": [("1-1", {"a": "b"})]}


@pytest.mark.req("LSE-1")
async def test_a_socket_whose_greeting_broke_off_is_greeted_anew(connection: Connection) -> None:
    greetings: list[Any] = []

    async def greet(socket: Any) -> None:
        await socket.on_connect()
        greetings.append(socket)
        if len(greetings) == 1:
            raise ZeroDivisionError

    options = {"max_connections": 1, "timeout": 1, "redis_connect_func": greet, "protocol": 2}
    client = Client(Sockets.from_url(connection.url, **options))
    with pytest.raises(ZeroDivisionError):
        await client.execute_command("PING")
    assert await client.execute_command("PING") is True
    assert greetings[0] is greetings[1]
    await client.aclose(close_connection_pool=True)


@pytest.mark.req("EVT-3")
async def test_a_refused_command_keeps_its_socket(connection: Connection) -> None:
    before = (await connection.execute("INFO", "stats"))["total_connections_received"]
    with pytest.raises(Corrupt):
        await connection.execute("HGET", "key")
    assert (await connection.execute("INFO", "stats"))["total_connections_received"] == before


@pytest.mark.req("ADM-2")
async def test_who_finds_no_socket_in_time_is_unavailable_and_the_next_finds_one(
    connection: Connection,
) -> None:
    client = connection._commands
    assert isinstance(client, Client)
    lent = [await client._sockets.lend() for _ in range(SOCKETS_MAX)]
    with pytest.raises(Unavailable, match="no socket became free"):
        await connection.execute("PING")
    client._sockets.give_back(lent.pop())
    await connection.ping()
    for socket in lent:
        client._sockets.give_back(socket)
