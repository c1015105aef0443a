"""All kinds of abuse at once on a real gateway: the honest are served meanwhile, and nothing is left."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import pytest

from contracts.states import State
from tests.actors.gateway.process import body_of, status_of
from tests.actors.gateway.test_attacks import Target, spec, target

EACH = 15
HONEST = 10
KINDS = 7
BOUNDS = [
    *("--set", f"caller_connections_max={EACH * KINDS + 10}"),
    *("--set", f"caller_streams_max={EACH + 10}"),
]
"""Room for one crowd and somebody honest."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, no time: closing it resets the connection."""


async def descriptors(it: Target) -> int:
    """Of the gateway, now, but for its sockets to the server: it keeps as many as it once used at a time."""
    clients = await it.store.connection.execute("INFO", "clients")
    return len(os.listdir(f"/proc/{it.process.pid}/fd")) - int(clients["connected_clients"])


def beginnings(it: Target, job_id: str) -> list[bytes]:
    """How strangers begin who never come to an end."""
    kind = "Content-Type: application/json"
    return [
        b"",  # says nothing
        b"POST /v1/jobs HT",  # half a line
        it.process.head("GET /v1/jobs", it.auth)[:-2] + b"X-A: " + b"a" * 2_000,  # half a head
        it.process.head("POST /v1/jobs", it.auth, kind, "Content-Length: 9999") + b'{"name"',
        it.process.head("POST /v1/jobs", it.auth, kind, "Transfer-Encoding: chunked") + b"ff\r\n{",
        it.process.head(f"GET /v1/jobs/{job_id}/events", it.auth),  # and reads nothing of it
        it.process.head("GET /v1/jobs", it.auth) * 20,  # and reads none of the answers
    ]


@contextmanager
def strangers(it: Target, job_id: str) -> Iterator[None]:
    """A crowd, held open; half of them leave with a reset, the others in good order."""
    with ExitStack() as held:
        for begun in beginnings(it, job_id):
            for n in range(EACH):
                one = held.enter_context(socket.create_connection(it.process.reached_at, 20))
                one.sendall(begun)
                if n % 2:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        yield


@pytest.mark.req("SIM-5", "API-4")
async def test_in_a_crowd_of_strangers_the_honest_are_served_and_afterwards_nothing_is_left(
    tmp_path: Path,
) -> None:
    async with target(tmp_path, *BOUNDS) as it:
        job_id = body_of(await it.post(spec()))["job_id"]
        before = await descriptors(it)
        for _ in range(2):  # a seat that the first crowd did not give back is missed in the second
            with strangers(it, job_id):
                with anyio.fail_after(20):
                    while await descriptors(it) < before + EACH * KINDS // 2:
                        await anyio.sleep(0.01)
                for _ in range(HONEST):
                    assert status_of(await it.post(spec())) == 202
                    assert body_of(await it.get(f"/v1/jobs/{job_id}"))["state"] == State.QUEUED
                assert status_of(await it.get("/readyz")) == 200
            with anyio.fail_after(20):
                while await descriptors(it) > before:
                    await anyio.sleep(0.01)
        stream = it.process.head(f"GET /v1/jobs/{job_id}/events", it.auth)
        assert status_of(await it.process.knock(stream, until=b"\n\n")) == 200
        listed = body_of(await it.get("/v1/jobs?limit=500"))
        assert len(listed["jobs"]) == 1 + 2 * HONEST, "no half of a request became a job"
