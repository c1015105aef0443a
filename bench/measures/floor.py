"""The raw floor: what the same client and server do without any queue on top.

Pipelined XADD, then XREADGROUP + XACK, and a function call that does both writes of a job (HSET and XADD),
each in batches of 1, 10, 100; and two hops through a second process, as a request and its answer go.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any, Final

import anyio
from redis.asyncio import Redis

from bench.rows import Sample
from bench.server import Server

BATCHES: Final = (1, 10, 100)
PAYLOAD: Final = "x" * 100
HOPS: Final = 200
POLL_S: Final = 0.0005
_LIBRARY: Final = """#!lua name=bench
redis.register_function('bench_add', function(keys, argv)
  for n = 2, #argv do
    redis.call('HSET', keys[1] .. argv[1] .. n, 'spec', argv[n])
    redis.call('XADD', keys[1] .. 'stream', '*', 'p', argv[n])
  end
  return #argv - 1
end)
"""


def floor(server: Server, *, count: int) -> list[Sample]:
    """Jobs a second of each raw way."""
    server.empty()
    server.client.function_load(_LIBRARY)
    return anyio.run(_floor, server, count, backend_options={"use_uvloop": True})


async def _floor(server: Server, count: int) -> list[Sample]:
    client: Redis = Redis.from_url(server.url)
    samples = []
    for batch in BATCHES:
        few = count if batch > 1 else max(1, count // 5)
        for name, act in (("xadd", _xadd), ("read_ack", _read_ack), ("call", _call)):
            took_s = await _timed(act(client, few, batch))
            samples.append(Sample("floor", f"{name}_{batch}", server.mode, few / took_s, "jobs/s"))
    samples += await _two_hops(client, server.mode)
    await client.aclose()
    return samples


async def _timed(act: Awaitable[object]) -> float:
    began = time.perf_counter()
    await act
    return time.perf_counter() - began


async def _xadd(client: Redis, count: int, batch: int) -> None:
    await client.delete("stream")
    await client.xgroup_create("stream", "g", "0", mkstream=True)
    for _ in range(0, count, batch):
        async with client.pipeline(transaction=False) as pipe:
            for _ in range(batch):
                await pipe.xadd("stream", {"p": PAYLOAD})  # kept, not sent
            await pipe.execute()


async def _read_ack(client: Redis, count: int, batch: int) -> None:
    for _ in range(0, count, batch):
        streams: Any = await client.xreadgroup("g", "c", {"stream": ">"}, count=batch)
        await client.xack("stream", "g", *(entry_id for entry_id, _ in streams[0][1]))


async def _call(client: Redis, count: int, batch: int) -> None:
    await client.delete("b:stream")
    payloads = [PAYLOAD] * batch
    for begin in range(0, count, batch):
        await client.execute_command("FCALL", "bench_add", 1, "b:", begin, *payloads)


async def _two_hops(client: Redis, mode: str) -> list[Sample]:
    """XADD; another connection reads it and sets the answer; the first looks for it twice a millisecond."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_answer_all, client)
        taken_ms = [1_000 * await _timed(_ask(client, n)) for n in range(HOPS)]
        tasks.cancel_scope.cancel()
    return [Sample("floor", "requests_door_p50", mode, sorted(taken_ms)[HOPS // 2], "ms")]


async def _ask(client: Redis, n: int) -> None:
    await client.xadd("asks", {"n": n, "p": PAYLOAD})
    while await client.get(f"answer:{n}") is None:  # noqa: ASYNC110 - polling is what is measured
        await anyio.sleep(POLL_S)


async def _answer_all(client: Redis) -> None:
    await client.xgroup_create("asks", "g", "0", mkstream=True)
    while True:
        streams: Any = await client.xreadgroup("g", "c", {"asks": ">"}, count=100, block=5_000)
        for entry_id, fields in streams[0][1] if streams else ():
            await client.set(b"answer:" + fields[b"n"], PAYLOAD, px=60_000)
            await client.xack("asks", "g", entry_id)
