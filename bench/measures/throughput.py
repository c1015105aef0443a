"""Enqueue, drain, what the server did for each job, and what each job takes in its memory.

One measurement: submit one by one, then in bulk, with the queue full start the workers, and time the jobs
from the moment when every worker is at work to the end of the last job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.processes import kill_tree
from bench.room import Failed, Mark, Room
from bench.rows import Sample

ONE_BY_ONE: Final = 500
DRAINED_FIRST: Final = 5_000


@dataclass(frozen=True, slots=True)
class Load:
    """Which jobs, how many, on how many workers."""

    job: str
    """noop, or wait (one millisecond)."""
    workers: int
    count: int
    concurrency: int | None = None
    """Jobs at once in each worker; None: the peer's tuned setting."""

    @property
    def suffix(self) -> str:
        """Of the measures' names."""
        return f"{self.workers}" if self.job == "noop" else f"{self.job}_{self.workers}"


def drain(room: Room, load: Load) -> list[Sample]:
    """Enqueue and drain; every figure of one run."""
    says = Says(room)
    room.begin_stack()
    one = room.ask("enqueue", job=load.job, count=ONE_BY_ONE, bulk=False)["seconds"]
    before = room.server.memory_bytes()
    bulk_count = load.count - ONE_BY_ONE
    bulk = room.ask("enqueue", job=load.job, count=bulk_count, bulk=True)["seconds"]
    queued = (room.server.memory_bytes() - before) / bulk_count
    samples, finished = _drained(room, load, before - queued * ONE_BY_ONE)
    if load.job != "noop" or load.workers > 1:
        return samples
    return [
        *samples,
        says("enqueue_one", ONE_BY_ONE / one, "jobs/s"),
        says("enqueue_bulk", bulk_count / bulk, "jobs/s"),
        says("bytes_queued", queued, "bytes"),
        says("bytes_finished", finished, "bytes"),
    ]


def _drained(room: Room, load: Load, empty_bytes: float) -> tuple[list[Sample], float]:
    """The workers' part; its samples, and the bytes of a finished job."""
    says = Says(room)
    room.server.count_anew()
    workers = [room.begin("work", **_options(load)) for _ in range(load.workers)]
    room.until_marked(1)
    booted_cpu_s = room.cpu_s()
    room.until_marked(load.count)
    ended_ns = room.until_ended(load.count)
    counted, cpu_s = room.server.counted(), room.cpu_s() - booted_cpu_s
    kill_tree(workers)
    finished = (room.server.memory_bytes() - empty_bytes) / load.count
    marks, n = room.marks(), load.suffix
    per_job_us = 1e6 / load.count
    samples = [
        says(f"drain_{n}", rate(marks, ended_ns, load), "jobs/s"),
        says(f"server_us_per_job_{n}", counted.command_us / load.count, "us"),
        says(f"server_cpu_us_per_job_{n}", counted.cpu_s * per_job_us, "us"),
        says(f"commands_per_job_{n}", counted.commands / load.count, "commands"),
        says(f"client_cpu_us_per_job_{n}", cpu_s * per_job_us, "us"),
    ]
    return samples, finished


def _options(load: Load) -> dict[str, object]:
    return {} if load.concurrency is None else {"concurrency": load.concurrency}


def rate(marks: list[Mark], ended_ns: int, load: Load) -> float:
    """Jobs a second, from the moment when all workers were at work.

    A process that came when half of the jobs had started does not count: it replaced another one.

    Raises:
        Failed: one worker did half of the work before the others had begun.
    """
    firsts: dict[int, int] = {}
    for mark in marks[: len(marks) // 2]:
        firsts.setdefault(mark.pid, mark.at_ns)
    if len(firsts) < load.workers:
        message = f"{len(firsts)} of {load.workers} workers did the first half of {load.count} jobs"
        raise Failed(message)
    began_ns = max(firsts.values())
    done = sum(mark.at_ns >= began_ns for mark in marks)
    return done / max((ended_ns - began_ns) / 1e9, 1e-9)


def backlog(room: Room, queued: int, canceled: int = 0) -> list[Sample]:
    """How fast the first jobs of a long queue are drained, and what each costs the server."""
    says = Says(room)
    first = min(queued, DRAINED_FIRST)
    room.begin_stack()
    if canceled:
        room.ask("fill_canceled", within_s=600, count=canceled)
    room.ask("enqueue", within_s=600, job="noop", count=queued, bulk=True)
    room.server.count_anew()
    room.begin("work")
    # One more than the first ones: between their starts lies the whole work of the first ones.
    room.until_marked(min(first + 1, queued))
    ended_ns = room.until_ended(first) if first == queued else 0
    counted, marks = room.server.counted(), room.marks()
    seconds = ((ended_ns or marks[first].at_ns) - marks[0].at_ns) / 1e9
    name = f"past_{canceled}_canceled" if canceled else f"at_{queued}"
    return [
        says(f"drain_{name}", first / seconds, "jobs/s"),
        says(f"server_us_per_job_{name}", counted.command_us / len(marks), "us"),
    ]


@dataclass(frozen=True, slots=True)
class Says:
    """Makes samples of one room."""

    room: Room

    def __call__(self, measure: str, value: float | None, unit: str, note: str = "") -> Sample:
        """A sample of this measure."""
        return Sample(self.room.peer.name, measure, self.room.server.mode, value, unit, note)
