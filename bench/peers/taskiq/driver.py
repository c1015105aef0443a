"""taskiq with the stream broker of taskiq-redis."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import stage
import uvloop
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

HERE = Path(__file__).resolve().parent

# consumer_id 0: with the default `$` the group would lose what was queued before the first worker.
broker = RedisStreamBroker(stage.URL, consumer_id="0", xread_count=100)
if stage.VARIANT.endswith("results"):
    broker = broker.with_result_backend(RedisAsyncResultBackend(stage.URL, result_ex_time=600))


@broker.task(task_name="noop")
async def noop() -> int:
    stage.mark()
    return 1


@broker.task(task_name="wait")
async def wait() -> None:
    stage.mark()
    await asyncio.sleep(0.001)


@broker.task(task_name="stamp")
async def stamp(index: int) -> int:
    stage.mark(index)
    return index


@broker.task(task_name="hold")
async def hold() -> None:
    if stage.is_first_hold():
        await asyncio.sleep(stage.HOLD_S)


TASKS = {"noop": noop, "wait": wait, "hold": hold}


async def enqueue(options: stage.Options) -> object:
    task = TASKS[options["job"]]
    await broker.startup()
    return await stage.enqueue_each(options, task.kiq)


async def latency(options: stage.Options) -> object:
    await broker.startup()
    keeps = stage.VARIANT.endswith("results")
    result = (lambda task: task.wait_result(check_interval=0.002, timeout=30)) if keeps else None
    return await stage.submit_paced(options, stamp.kiq, result)


def work(options: stage.Options) -> None:
    together = str(options.get("concurrency", 100))
    tuned = ["--max-async-tasks", together, "--max-prefetch", together]
    command = [sys.executable, "-m", "taskiq", "worker", "driver:broker", "--workers", "1"]
    command += ["--log-level", "ERROR", "--app-dir", str(HERE)]
    os.execv(sys.executable, [*command, *([] if options.get("defaults") else tuned)])


if __name__ == "__main__":
    stage.serve(
        {
            "enqueue": lambda options: uvloop.run(enqueue(options)),
            "latency": lambda options: uvloop.run(latency(options)),
            "work": work,
        }
    )
