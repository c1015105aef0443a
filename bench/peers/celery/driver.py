"""Celery on Redis: prefork workers, acknowledged late."""

from __future__ import annotations

import time

import stage
from celery import Celery

app = Celery("bench", broker=stage.URL, backend=stage.URL)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="noop", ignore_result=True)
def noop() -> None:
    stage.mark()


@app.task(name="wait", ignore_result=True)
def wait() -> None:
    stage.mark()
    time.sleep(0.001)


@app.task(name="stamp")
def stamp(index: int) -> int:
    stage.mark(index)
    return index


@app.task(name="hold", ignore_result=True)
def hold() -> None:
    if stage.is_first_hold():
        time.sleep(stage.HOLD_S)


TASKS = {"noop": noop, "wait": wait, "hold": hold}


def enqueue(options: stage.Options) -> object:
    task, count = TASKS[options["job"]], options["count"]
    with app.producer_pool.acquire(block=True) as producer:
        producer.connection.ensure_connection()

        def send() -> None:
            for _ in range(count):
                task.apply_async(producer=producer)

        return stage.timed(send)


def latency(options: stage.Options) -> object:
    return stage.submit_paced_blocking(
        options, stamp.delay, lambda asked: asked.get(timeout=30, interval=0.002)
    )


def work(options: stage.Options) -> None:
    words = ["worker", "--loglevel", "ERROR"]
    if "concurrency" in options:
        words += ["--pool", "threads", "--concurrency", str(options["concurrency"])]
    elif not options.get("defaults"):
        words += ["--concurrency", "1"]
    app.worker_main(words)


stage.serve({"enqueue": enqueue, "latency": latency, "work": work})
