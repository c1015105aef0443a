"""The front door under load: how many submissions a second, alone and in batches, and what a refusal costs.

A caller that is refused should hear it sooner than one that is accepted, else backpressure makes it worse.
Each connection asks again as soon as it was answered; the bare FastAPI gets the same load in the same run.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from functools import partial
from typing import Final

import anyio

from bench.environments import ROOT
from bench.measures.http import SPEC, answer, free_port, gateway, in_loop, until_connects
from bench.measures.throughput import Says
from bench.processes import start
from bench.room import Failed, Room
from bench.rows import Sample

CONNECTIONS: Final = 32
BATCH: Final = 100
BATCH_CONNECTIONS: Final = 4


def front(room: Room, *, seconds: float) -> list[Sample]:
    """Accepted submissions: single and in batches of 100 at one gateway process, single at a bare FastAPI."""
    says = Says(room)
    port = gateway(room)
    single = in_loop(lambda: _ask(port, "/v1/jobs", SPEC, seconds=seconds, status=202))
    batch = {"items": [SPEC] * BATCH}
    ask_batch = partial(_ask, connections=BATCH_CONNECTIONS, seconds=seconds, status=200)
    batched = in_loop(lambda: ask_batch(port, "/v1/jobs:batch", batch))
    bare_port = free_port()
    bare = start(
        [sys.executable, "-m", "bench.bare", str(bare_port)], log=room.folder / "bare.log", cwd=ROOT
    )
    room.running.append(bare)
    until_connects(bare_port, bare)
    theirs = in_loop(lambda: _ask(bare_port, "/v1/jobs", SPEC, seconds=seconds, status=202))
    mode = room.server.mode
    return [
        says("front_submit", len(single) / seconds, "jobs/s"),
        says("front_submit_p50", statistics.median(single), "ms"),
        says(f"front_batch_{BATCH}", len(batched) * BATCH / seconds, "jobs/s"),
        Sample("bare-fastapi", "front_submit", mode, len(theirs) / seconds, "jobs/s"),
        Sample("bare-fastapi", "front_submit_p50", mode, statistics.median(theirs), "ms"),
    ]


def overload(room: Room, *, seconds: float) -> list[Sample]:
    """Refused submissions: the same load at a gateway whose queues are full."""
    says = Says(room)
    port = gateway(room, queue_jobs_max=0)
    refused = in_loop(lambda: _ask(port, "/v1/jobs", SPEC, seconds=seconds, status=429))
    return [
        says("front_refused", len(refused) / seconds, "answers/s"),
        says("front_refused_p50", statistics.median(refused), "ms"),
    ]


async def _ask(
    port: int,
    path: str,
    document: object,
    *,
    seconds: float,
    status: int,
    connections: int = CONNECTIONS,
) -> list[float]:
    """How long each answer took, in ms; any other status is a failure."""
    body = json.dumps(document)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    message, expected = (head + body).encode(), f"http/1.1 {status}".encode()
    took: list[float] = []

    async def one_connection(until: float) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            while (asked := time.monotonic()) < until:
                await stream.send(message)
                said = (await answer(stream)).lower()
                if not said.startswith(expected):
                    raise Failed(said[:300].decode(errors="replace"))
                took.append((time.monotonic() - asked) * 1_000)

    async with anyio.create_task_group() as tasks:
        for _ in range(connections):
            tasks.start_soon(one_connection, time.monotonic() + seconds)
    return took
