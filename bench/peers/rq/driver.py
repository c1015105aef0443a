"""RQ: one job at a time in each worker process."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import redis
import stage
from rq import Queue, SimpleWorker, Worker


def noop() -> None:
    stage.mark()


def wait() -> None:
    stage.mark()
    time.sleep(0.001)


def stamp(index: int) -> int:
    stage.mark(index)
    return index


def hold() -> None:
    if stage.is_first_hold():
        time.sleep(stage.HOLD_S)


def open_queue() -> Queue:
    connection = redis.Redis.from_url(stage.URL)
    connection.ping()
    return Queue(connection=connection)


def enqueue(options: stage.Options) -> object:
    # By name: the worker imports this file as `driver`.
    name, count = f"driver.{options['job']}", options["count"]
    queue = open_queue()
    ttl = 500 if options["job"] == "hold" else 0

    def bulk() -> None:
        for begin in range(0, count, 1000):
            several = range(min(1000, count - begin))
            queue.enqueue_many([Queue.prepare_data(name, result_ttl=ttl) for _ in several])

    def one_by_one() -> None:
        for _ in range(count):
            queue.enqueue(name, result_ttl=ttl)

    return stage.timed(bulk if options["bulk"] else one_by_one)


def latency(options: stage.Options) -> object:
    queue = open_queue()
    return stage.submit_paced_blocking(
        options,
        lambda index: queue.enqueue("driver.stamp", index),
        lambda job: job.latest_result(timeout=30),
    )


def work(options: stage.Options) -> None:
    queue = open_queue()
    kind = Worker if options.get("defaults") else SimpleWorker
    kind([queue], connection=queue.connection).work(logging_level="ERROR")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    stage.serve({"enqueue": enqueue, "latency": latency, "work": work})
