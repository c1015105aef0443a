"""Part 4: two thousand small python jobs, each with a record, a ledger and a result of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from contracts.limits import PAGE_ITEMS_MAX
from contracts.record import JobRecord
from contracts.states import Event
from orch.demo import agents
from orch.demo.stage import Stage, decisive, replayed

TITLE: Final = "2,000 small python jobs"
JOBS: Final = 2_000
CHUNK: Final = 250
SAMPLE_EVERY: Final = 100
TENANT: Final = "crowd"
AGENTS: Final = str(Path(agents.__file__).parent)
DRAIN_MS_MAX: Final = 90_000
LOOK_EVERY_MS: Final = 100


async def crowd(stage: Stage) -> None:
    """Show it."""
    stage.job = f"{job_id_of(0)} … {JOBS - 1:04d}"
    with stage.voice.progress(JOBS, f"{JOBS} python calls in worker processes") as tell:
        accepted = await _submit(stage, tell)
        await _drain(stage, tell)
    stage.equal("every submission was accepted", accepted, JOBS)
    records = await _all_records(stage)
    _judge_records(stage, records)
    _judge_results(stage, records)
    await _judge_sample(stage)


def job_id_of(number: int) -> str:
    """The id that the demo chose for the job of a number."""
    return f"demo-square-{number:04d}"


def _spec(number: int) -> dict[str, Any]:
    config = {"callable": "squares:square", "args": [number], "path": AGENTS}
    adapter = {"name": "python", "config": config}
    return {"id": job_id_of(number), "name": "square", "tenant": TENANT, "adapter": adapter}


async def _submit(stage: Stage, tell: Callable[[int], None]) -> int:
    """Submit all in batches; how many were accepted."""
    accepted = 0
    for first in range(0, JOBS, CHUNK):
        answer = await stage.client.submit_batch([_spec(n) for n in range(first, first + CHUNK)])
        accepted += sum(item.job is not None for item in answer.items)
        tell(max(0, accepted - await _open(stage, first)))
    return accepted


async def _drain(stage: Stage, tell: Callable[[int], None]) -> None:
    """Until no job waits and none runs."""
    clock = stage.house.clock
    until_ms = clock.monotonic_ms() + DRAIN_MS_MAX
    while clock.monotonic_ms() < until_ms:
        left = await _open(stage, JOBS - 1)
        tell(JOBS - left)
        if left == 0:
            return
        await clock.sleep_ms(LOOK_EVERY_MS)


async def _open(stage: Stage, number: int) -> int:
    """Jobs that wait or run: a cheap question, for the progress bar; the truth is read at the end."""
    facts = (await stage.client.explain(job_id_of(number))).facts
    return int(facts["queued_in_class"]) + int(facts["held"])


async def _all_records(stage: Stage) -> list[JobRecord]:
    """Every record of the tenant, page by page."""
    records: list[JobRecord] = []
    cursor: str | None = None
    with stage.voice.waiting("reading every record back"):
        while True:
            page = await stage.client.jobs(tenant=TENANT, limit=PAGE_ITEMS_MAX, cursor=cursor)
            records += page.jobs
            cursor = page.next_cursor
            if cursor is None:
                return records


def _judge_records(stage: Stage, records: list[JobRecord]) -> None:
    states = Counter(record.state.value for record in records)
    stage.equal("every job is completed", dict(states), {"completed": JOBS})
    stage.state = " ".join(states)
    stage.attempts = sum(len(record.attempts) for record in records)
    stage.equal("no two of them are the same job", len({record.job_id for record in records}), JOBS)
    tries = Counter(" ".join(decisive(record)) for record in records)
    stage.equal("each has exactly one attempt that brought its result", dict(tries), {"done": JOBS})
    ends = [record.finished_at_ms for record in records if record.finished_at_ms is not None]
    if not ends:
        return
    took_ms = max(1, max(ends) - min(record.created_at_ms for record in records))
    rate = round(len(ends) * 1_000 / took_ms)
    stage.duration_ms, stage.facts["jobs_per_s"] = took_ms, rate
    stage.holds(
        f"{rate:,} jobs/s, from the first submission to the last stored result",
        len(ends) == JOBS,
        expected=f"{JOBS} stored results",
        found=len(ends),
    )


def _judge_results(stage: Stage, records: list[JobRecord]) -> None:
    wrong = [
        f"{record.job_id}: {record.result}"
        for record in records
        if record.result != int(record.job_id[-4:]) ** 2
    ]
    stage.equal("each result is the square of its number", wrong[:5], [])
    total = sum(record.result for record in records if isinstance(record.result, int))
    expected = (JOBS - 1) * JOBS * (2 * JOBS - 1) // 6
    stage.equal(f"the results add up to {expected:,}", total, expected)


async def _judge_sample(stage: Stage) -> None:
    """One ledger in a hundred, whole: settled once, by the last claim."""
    sample = range(0, JOBS, SAMPLE_EVERY)
    odd: list[str] = []
    for number in sample:
        ledger = await stage.ledger(job_id_of(number))
        causes = [event.payload.get("cause") for event in ledger]
        if causes.count(Event.SETTLE.value) != 1 or replayed(ledger) != "completed":
            odd.append(f"{job_id_of(number)}: {causes}")
    stage.equal(f"{len(sample)} ledgers, looked at whole, hold one result each", odd, [])
