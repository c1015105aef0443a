"""What the Python drivers of peers share; standard library only, because every peer has its own packages.

A job that is measured writes one mark: 24 bytes, the monotonic nanoseconds of its start, its index, its
process. The rig reads the marks: one clock for every peer and process, and booting is no part of a rate.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

URL = os.environ["BENCH_URL"]
"""redis://127.0.0.1:port/0"""
VARIANT = os.environ["BENCH_PEER"]
"""Which variant of the folder is meant."""
_MARKS = os.environ["BENCH_MARKS"]
_RECORD = struct.Struct("<qqq")
_marks = os.open(_MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

NOBODY = -1
"""The index of a job that carries none."""
HELD = -2
"""The index of the job whose worker is killed."""
HOLD_S = 600
TOGETHER = 100
Options = Mapping[str, Any]


def mark(index: int = NOBODY) -> None:
    """The job has started; one write, atomic because the file is opened for appending."""
    os.write(_marks, _RECORD.pack(time.monotonic_ns(), index, os.getpid()))


def is_first_hold() -> bool:
    """Marks the start of the job whose worker is killed; whether this is its first."""
    mark(HELD)
    try:
        os.close(os.open(_MARKS + ".held", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def serve(verbs: Mapping[str, Callable[[Options], object]]) -> None:
    """`driver.py VERB JSON`: prints the verb's answer as the last line."""
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    answer = verbs[sys.argv[1]](options)
    print(json.dumps(answer), flush=True)


def timed(act: Callable[[], object]) -> dict[str, float]:
    """How long it took."""
    began = time.perf_counter()
    act()
    return {"seconds": time.perf_counter() - began}


async def timed_async(act: Awaitable[object]) -> dict[str, float]:
    """How long it took."""
    began = time.perf_counter()
    await act
    return {"seconds": time.perf_counter() - began}


async def enqueue_each(options: Options, send: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """For an asyncio client without a call for many: in bulk, a hundred are under way together."""
    count: int = options["count"]
    together = min(TOGETHER, count) if options["bulk"] else 1
    began = time.perf_counter()
    for begin in range(0, count, together):
        if together == 1:
            await send()
        else:
            await asyncio.gather(*(send() for _ in range(min(together, count - begin))))
    return {"seconds": time.perf_counter() - began}


async def submit_paced(
    options: Options,
    submit: Callable[[int], Awaitable[Any]],
    result: Callable[[Any], Awaitable[object]] | None,
) -> dict[str, list[int]]:
    """One job at a time, a pause before each: when it was submitted, how long until its result was here."""
    submitted, took = [], []
    for index, pause_ms in enumerate(options["pauses_ms"]):
        await asyncio.sleep(pause_ms / 1000)
        began = time.monotonic_ns()
        handle = await submit(index)
        if result is not None:
            await result(handle)
            took.append(time.monotonic_ns() - began)
        submitted.append(began)
    return {"submitted_ns": submitted, "result_ns": took}


def submit_paced_blocking(
    options: Options,
    submit: Callable[[int], Any],
    result: Callable[[Any], object] | None,
) -> dict[str, list[int]]:
    """The same for a client that blocks."""

    async def submit_async(index: int) -> Any:
        return submit(index)

    async def result_async(handle: Any) -> None:
        assert result is not None
        result(handle)

    return asyncio.run(submit_paced(options, submit_async, result_async if result else None))
