"""dramatiq: worker threads on lists, with Lua."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import dramatiq
import stage
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

HERE = Path(__file__).resolve().parent
KEEPS = stage.VARIANT.endswith("results")

broker = RedisBroker(url=stage.URL)
if KEEPS:
    broker.add_middleware(Results(backend=RedisBackend(url=stage.URL), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop() -> int | None:
    stage.mark()
    return 1 if KEEPS else None


@dramatiq.actor
def wait() -> None:
    stage.mark()
    time.sleep(0.001)


@dramatiq.actor
def stamp(index: int) -> int | None:
    stage.mark(index)
    return index if KEEPS else None


@dramatiq.actor(time_limit=3_600_000)
def hold() -> None:
    if stage.is_first_hold():
        time.sleep(stage.HOLD_S)


ACTORS = {"noop": noop, "wait": wait, "hold": hold}


def enqueue(options: stage.Options) -> object:
    actor, count = ACTORS[options["job"]], options["count"]
    broker.client.ping()

    def send() -> None:
        for _ in range(count):
            actor.send()

    return stage.timed(send)


def latency(options: stage.Options) -> object:
    def result(message: dramatiq.Message) -> object:
        return message.get_result(block=True, timeout=30_000)

    return stage.submit_paced_blocking(options, stamp.send, result if KEEPS else None)


def work(options: stage.Options) -> None:
    command = [sys.executable, "-m", "dramatiq", "driver", "--path", str(HERE)]
    if not options.get("defaults"):
        os.environ.update(dramatiq_queue_prefetch="200")
        command += ["--processes", "1", "--threads", str(options.get("concurrency", 8))]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    stage.serve({"enqueue": enqueue, "latency": latency, "work": work})
