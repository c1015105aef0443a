"""streaQ: async workers on streams with priorities."""

from __future__ import annotations

import json
import sys

import anyio
import stage
from streaq import Worker

OPTIONS = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
TUNED = {} if OPTIONS.get("defaults") else {"concurrency": OPTIONS.get("concurrency", 100)}
worker = Worker(redis_url=stage.URL, anyio_kwargs={"use_uvloop": True}, **TUNED)


@worker.task
async def noop() -> int:
    stage.mark()
    return 1


@worker.task
async def wait() -> None:
    stage.mark()
    await anyio.sleep(0.001)


@worker.task
async def stamp(index: int) -> int:
    stage.mark(index)
    return index


@worker.task
async def hold() -> None:
    if stage.is_first_hold():
        await anyio.sleep(stage.HOLD_S)


TASKS = {"noop": noop, "wait": wait, "hold": hold}


async def enqueue(options: stage.Options) -> object:
    task, count = TASKS[options["job"]], options["count"]
    async with worker:

        async def bulk() -> None:
            for begin in range(0, count, 1000):
                await worker.enqueue_many([task.enqueue() for _ in range(min(1000, count - begin))])

        async def one_by_one() -> None:
            for _ in range(count):
                await task.enqueue()

        return await stage.timed_async(bulk() if options["bulk"] else one_by_one())


async def latency(options: stage.Options) -> object:
    async def submit(index: int) -> object:
        return await stamp.enqueue(index)

    async with worker:
        return await stage.submit_paced(options, submit, lambda task: task.result(30))


def in_loop(verb: object, options: stage.Options) -> object:
    return anyio.run(verb, options, backend_options={"use_uvloop": True})


stage.serve(
    {
        "enqueue": lambda options: in_loop(enqueue, options),
        "latency": lambda options: in_loop(latency, options),
        "work": lambda _: worker.run_sync(),
    }
)
