"""SAQ: async workers on lists, one blocking connection a slot."""

from __future__ import annotations

import asyncio
from typing import Any

import stage
import uvloop
from saq import Queue, Worker


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
    job = options["job"]
    queue = Queue.from_url(stage.URL)
    await queue.connect()
    return await stage.enqueue_each(options, lambda: queue.enqueue(job))


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
