"""arq: async workers that poll a sorted set."""

from __future__ import annotations

import asyncio
from typing import Any

import stage
import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

SETTINGS = RedisSettings.from_dsn(stage.URL)
"""arq has no bulk call; its documentation gathers."""


async def noop(_: Any) -> int:
    stage.mark()
    return 1


async def wait(_: Any) -> None:
    stage.mark()
    await asyncio.sleep(0.001)


async def stamp(_: Any, index: int) -> int:
    stage.mark(index)
    return index


async def hold(_: Any) -> None:
    if stage.is_first_hold():
        await asyncio.sleep(stage.HOLD_S)


async def enqueue(options: stage.Options) -> object:
    job = options["job"]
    pool = await create_pool(SETTINGS)
    return await stage.enqueue_each(options, lambda: pool.enqueue_job(job))


async def latency(options: stage.Options) -> object:
    pool = await create_pool(SETTINGS)
    return await stage.submit_paced(
        options,
        lambda index: pool.enqueue_job("stamp", index),
        lambda job: job.result(timeout=30, poll_delay=0.002),
    )


async def work(options: stage.Options) -> None:
    tuned = {"max_jobs": options.get("concurrency", 100), "poll_delay": 0.01}
    worker = Worker(
        functions=[noop, wait, stamp, hold],
        redis_settings=SETTINGS,
        **({} if options.get("defaults") else tuned),
    )
    await worker.async_run()


stage.serve(
    {verb.__name__: lambda o, v=verb: uvloop.run(v(o)) for verb in (enqueue, latency, work)}
)
