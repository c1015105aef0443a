"""Stopping: with open streams, with a reader that does not read, by a real SIGTERM (API-5)."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import httpx2
import pytest

from actors.gateway.app import create_app
from actors.gateway.serve import bind, serve
from tests.actors.gateway.fake_store import FakeStore
from tests.actors.gateway.house import Reading, running, services_over, wait_until

ROOT = Path(__file__).parents[3]


@pytest.mark.req("API-5")
async def test_open_streams_end_at_once_when_the_gateway_stops_and_can_be_resumed() -> None:
    async with running(grace_ms=30_000) as house:
        job_id = await house.submit()
        readings = [Reading() for _ in range(20)]
        for reading in readings:
            house.tasks.start_soon(house.follow, job_id, reading)
        await wait_until(lambda: all(len(reading.frames) == 2 for reading in readings))

        with anyio.fail_after(2):
            house.stop.set()
            await wait_until(lambda: all(reading.closed for reading in readings))

        assert [frame.event for frame in readings[0].frames] == ["started", "status"]


@pytest.mark.req("API-5")
async def test_a_reader_that_does_not_read_cannot_hold_the_gateway_past_its_grace() -> None:
    with anyio.fail_after(5):
        async with running(grace_ms=1_000) as house:
            job_id = await house.submit()
            house.store.emit(job_id, *("x" * 8_000 for _ in range(2_000)))
            stuck = await anyio.connect_tcp("127.0.0.1", house.port)
            request = (
                f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost:{house.port}\r\n\r\n"
            )
            await stuck.send(request.encode())
            await wait_until(lambda: house.gateway.hub.watched == 1)
        await stuck.aclose()


@pytest.mark.req("API-3", "API-5")
async def test_a_request_that_outlasts_the_grace_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, answers = anyio.Event(), list[httpx2.Response]()

    async def never(*_: object, **__: object) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with running(grace_ms=1_000) as house:
        monkeypatch.setattr(house.store, "job", never)

        async def ask() -> None:
            answers.append(await house.http.get("/v1/jobs/any"))

        house.tasks.start_soon(ask)
        await begun.wait()
        house.stop.set()
        await wait_until(lambda: bool(answers))
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "UNAVAILABLE")


@pytest.mark.req("API-5")
@pytest.mark.parametrize("was_used", [False, True])
async def test_a_request_on_its_way_when_the_gateway_stops_is_answered_and_the_last(
    was_used: bool,
) -> None:
    async with (
        running(grace_ms=5_000) as house,
        await anyio.connect_tcp("127.0.0.1", house.port) as stream,
    ):
        request = f"GET /livez HTTP/1.1\r\nHost: localhost:{house.port}\r\n\r\n".encode()
        if was_used:
            await stream.send(request)
            assert (await stream.receive()).startswith(b"HTTP/1.1 200")
        for _ in range(20):  # more turns of the loop than it takes to be accepted
            await anyio.lowlevel.checkpoint()
        house.stop.set()
        await wait_until(house.gateway.draining.is_set)
        await stream.send(request)
        said = b""
        with anyio.fail_after(5), suppress(anyio.EndOfStream):
            while True:
                said += await stream.receive()
    assert said.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in said.lower()


@pytest.mark.req("API-5")
async def test_a_connection_on_which_nothing_is_asked_does_not_hold_a_gateway_that_stops() -> None:
    with anyio.fail_after(10):
        async with running(grace_ms=60_000) as house:
            silent = await anyio.connect_tcp("127.0.0.1", house.port)
            house.stop.set()
            with suppress(anyio.EndOfStream):
                assert await silent.receive() == b""
        await silent.aclose()


@pytest.mark.req("API-5")
async def test_sigterm_with_an_open_stream_ends_the_process_within_two_seconds() -> None:
    command = [sys.executable, "-m", "tests.actors.gateway.serve_until_term"]
    async with await anyio.open_process(command, cwd=ROOT, stderr=None) as process:
        assert process.stdout is not None
        with anyio.fail_after(20):
            port, job_id = (await process.stdout.receive()).decode().split()
        async with await anyio.connect_tcp("127.0.0.1", int(port)) as stream:
            request = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
            await stream.send(request.encode())
            said = b""
            while b"event: status" not in said:
                said += await stream.receive()

            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(2):
                assert await process.wait() == 0


@pytest.mark.req("API-1")
async def test_answers_are_not_held_back_until_the_reader_acknowledges_their_head() -> None:
    with bind() as sock:
        app, stop = create_app(services_over(FakeStore())), anyio.Event()
        async with anyio.create_task_group() as tasks:
            await tasks.start(partial(serve, app, sock, stop=stop))

            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            stop.set()


@pytest.mark.req("API-4")
def test_a_port_that_is_taken_is_an_error_of_the_caller() -> None:
    with bind() as taken:
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            bind(port=taken.getsockname()[1])
