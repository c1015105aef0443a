"""From the call that submits a job to its first line, and until the producer holds its result.

Jobs come one at a time, while traffic flows and after seconds of silence; low load, one worker process.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import quantiles

from bench.measures.throughput import Says
from bench.room import Failed, Room
from bench.rows import Sample

BUSY_PAUSE_MS = (0.0, 20.0)
IDLE_PAUSE_MS = 2_000.0


def latency(room: Room, *, busy: int, idle: int) -> list[Sample]:
    """`busy` jobs a few milliseconds apart, then `idle` jobs after two seconds of silence each."""
    room.begin_stack()
    room.begin("work")
    room.ask("enqueue", job="noop", count=10, bulk=False)
    room.until_marked(10)
    chance = random.Random(1)
    pauses = [chance.uniform(*BUSY_PAUSE_MS) for _ in range(busy)]
    return [
        *_paced(room, "busy", pauses),
        *(_paced(room, "idle", [IDLE_PAUSE_MS] * idle) if idle else []),
    ]


def under_backlog(room: Room, *, batch: int, few: int) -> list[Sample]:
    """Interactive jobs while a long line of batch jobs is drained."""
    room.begin_stack()
    room.ask("enqueue", within_s=600, job="noop", count=batch, bulk=True)
    room.begin("work")
    room.until_marked(1)
    chance = random.Random(1)
    pauses = [chance.uniform(*BUSY_PAUSE_MS) for _ in range(few)]
    said = room.ask("starts", pauses_ms=pauses, priority="interactive")
    room.until_marked(batch + few)
    marks = room.marks()
    began = {mark.index: mark.at_ns for mark in marks}
    last_batch_ns = max(mark.at_ns for mark in marks if mark.index < 0)
    if said["submitted_ns"][-1] > last_batch_ns:
        message = f"the {batch} jobs in the way were gone before the last interactive one came"
        raise Failed(message)
    starts = [began[n] - at_ns for n, at_ns in enumerate(said["submitted_ns"])]
    return _figures(room, "start_backlog", starts)


def requests_door(room: Room) -> list[Sample]:
    """The two-hop door: XADD to `requests`, until the answer of the admission actor is read."""
    room.begin_stack()
    room.begin("work")
    said = room.ask("requests", pauses_ms=[1.0] * 200)
    says = Says(room)
    return [says("requests_door_p50", percentile(said["result_ns"], 50) / 1e6, "ms")]


def _paced(room: Room, name: str, pauses_ms: Sequence[float]) -> list[Sample]:
    already = room.marked()
    said = room.ask("latency", within_s=60 + 0.003 * sum(pauses_ms), pauses_ms=list(pauses_ms))
    room.until_marked(already + len(pauses_ms))
    # The later of two marks of one index: this call's, not an earlier one's.
    began = {mark.index: mark.at_ns for mark in room.marks()}
    starts = [began[n] - at_ns for n, at_ns in enumerate(said["submitted_ns"])]
    return [
        *_figures(room, f"start_{name}", starts),
        *_figures(room, f"result_{name}", said["result_ns"]),
    ]


def _figures(room: Room, measure: str, taken_ns: Sequence[int]) -> list[Sample]:
    says = Says(room)
    if not taken_ns:
        note = "stores no result"
        return [says(f"{measure}_{p}", None, "ms", note) for p in ("p50", "p99")]
    return [
        says(f"{measure}_p50", percentile(taken_ns, 50) / 1e6, "ms"),
        says(f"{measure}_p99", percentile(taken_ns, 99) / 1e6, "ms"),
    ]


def percentile(values: Sequence[int], which: int) -> float:
    """The value that `which` percent lie below; of few values the highest stands for the last percents."""
    if len(values) < 2:
        return float(values[0])
    return quantiles(values, n=100, method="inclusive")[which - 1]
