"""SAQ: async workers on lists, one blocking connection a slot."""

from __future__ import annotations

import asyncio
from typing import Any

import stage
import uvloop
from saq import Queue, Worker

TOGETHER = 100


async def noop(_: Any) -> int:
    stage.mark()
    return 1


async def wait(_: Any) -> None:
    stage.mark()
    await asyncio.sleep(0.001)


async def stamp(_: Any, *, index: int) -> int:
    stage.mark(index)
    return index


async def hold(_: Any) -> None:
    if stage.is_first_hold():
        await asyncio.sleep(stage.HOLD_S)


async def enqueue(options: stage.Options) -> object:
    job, count = options["job"], options["count"]
    queue = Queue.from_url(stage.URL)
    await queue.connect()

    async def bulk() -> None:
        for begin in range(0, count, TOGETHER):
            several = range(min(TOGETHER, count - begin))
            await asyncio.gather(*(queue.enqueue(job) for _ in several))

    async def one_by_one() -> None:
        for _ in range(count):
            await queue.enqueue(job)

    return await stage.timed_async(bulk() if options["bulk"] else one_by_one())


async def latency(options: stage.Options) -> object:
    queue = Queue.from_url(stage.URL)
    await queue.connect()

    async def result(index: int) -> object:
        return await queue.apply("stamp", index=index, poll_interval=0.002)

    async def submit(index: int) -> int:
        return index  # `apply` is submit and wait in one, the documented way to a result

    return await stage.submit_paced(options, submit, result)


async def work(options: stage.Options) -> None:
    queue = Queue.from_url(stage.URL)
    tuned = {"concurrency": options.get("concurrency", 100)}
    worker = Worker(
        queue,
        functions=[noop, wait, stamp, hold],
        **({} if options.get("defaults") else tuned),
    )
    await worker.start()


stage.serve(
    {verb.__name__: lambda o, v=verb: uvloop.run(v(o)) for verb in (enqueue, latency, work)}
)
