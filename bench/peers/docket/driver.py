"""pydocket: async workers on a stream, one process each."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import stage
import uvloop
from docket import Docket, Execution, Worker

RESULT = 1 if stage.VARIANT.endswith("results") else None
"""docket stores what a task returns unless it is None."""


async def noop() -> int | None:
    stage.mark()
    return RESULT


async def wait() -> None:
    stage.mark()
    await asyncio.sleep(0.001)


async def stamp(index: int) -> int:
    stage.mark(index)
    return index


async def hold() -> None:
    if stage.is_first_hold():
        await asyncio.sleep(stage.HOLD_S)


TASKS = {task.__name__: task for task in (noop, wait, stamp, hold)}


def open_docket() -> Docket:
    docket = Docket(name="bench", url=stage.URL)
    for task in TASKS.values():
        docket.register(task)
    return docket


async def enqueue(options: stage.Options) -> object:
    task, count = TASKS[options["job"]], options["count"]
    async with open_docket() as docket:

        async def bulk() -> None:
            await docket.add_many([docket.call(task)() for _ in range(count)])

        async def one_by_one() -> None:
            for _ in range(count):
                await docket.add(task)()

        return await stage.timed_async(bulk() if options["bulk"] else one_by_one())


async def latency(options: stage.Options) -> object:
    async with open_docket() as docket:

        async def submit(index: int) -> Execution:
            return await docket.add(stamp)(index)

        return await stage.submit_paced(options, submit, Execution.get_result)


async def work(options: stage.Options) -> None:
    tuned: dict[str, Any] = {
        "concurrency": options.get("concurrency", 100),
        "minimum_check_interval": timedelta(milliseconds=5),
    }
    settings = {} if options.get("defaults") else tuned
    async with open_docket() as docket, Worker(docket, **settings) as worker:
        await worker.run_forever()


stage.serve(
    {verb.__name__: lambda o, v=verb: uvloop.run(v(o)) for verb in (enqueue, latency, work)}
)
