"""The look at everything a run has left: its data, the traces of its agents, its processes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from redis.asyncio import Redis

from contracts.states import STATE_CODES, State
from orch.core.ledger import state_of
from orch.store.keys import Keys
from orch.store.store import Store
from tests.chaos import verdict
from tests.chaos.census import leftovers
from tests.chaos.load import Scene
from tests.chaos.replicated import Replicated
from tests.chaos.server import Server
from tests.chaos.shape import Outcome
from tests.chaos.submit import Ack, Books
from tests.chaos.verdict import RESTING, Silence, Violation
from tests.store.invariants import faults_of
from tests.store.world import World


async def _names(client: Redis) -> list[str]:
    return [name async for name in client.scan_iter(Keys().job("*"), count=1_000)]


async def states_of(client: Redis) -> list[str]:
    """The state letters of all jobs."""
    pipe = client.pipeline(transaction=False)
    for name in await _names(client):
        pipe.hget(name, "state")  # type: ignore[unused-awaitable]  # a pipeline's
    return [state for state in await pipe.execute() if state is not None]


async def unresting(client: Redis) -> dict[str, str]:
    """Jobs that have not come to rest, with the name in their spec."""
    resting = {STATE_CODES[state] for state in RESTING}
    pipe = client.pipeline(transaction=False)
    names = await _names(client)
    for name in names:
        pipe.hmget(name, "state", "spec")  # type: ignore[unused-awaitable]  # a pipeline's
    return {
        name.removeprefix(Keys().job("")): json.loads(spec)["name"]
        for name, (state, spec) in zip(names, await pipe.execute(), strict=True)
        if state is not None and state not in resting
    }


async def jobs_of(client: Redis) -> dict[str, dict[str, str]]:
    """Every job hash."""
    names = await _names(client)
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.hgetall(name)  # type: ignore[unused-awaitable]  # a pipeline's
    found = zip(names, await pipe.execute(), strict=True)
    return {name.removeprefix(Keys().job("")): fields for name, fields in found if fields}


class Inspection:
    """One look, after the actors have left."""

    def __init__(
        self,
        server: Server | Replicated,
        books: Books,
        scene: Scene,
        outcome: Outcome,
        *,
        silences: Sequence[Silence] = (),
        undone: Sequence[Ack] = (),
    ) -> None:
        self._server = server
        self._books = books
        self._scene = scene
        self._outcome = outcome
        self._silences = silences
        self._undone = undone

    async def look(
        self, root: Path, *, counted_elsewhere: int, counted_by_submitters: int, store: Store
    ) -> None:
        """Writes what it finds into the outcome."""
        jobs = await jobs_of(self._server.client)
        traces = verdict.read_traces(self._scene.effects)
        out = self._outcome
        out.violations += self._submissions(jobs, counted_elsewhere)
        out.violations += self._jobs(jobs, traces, counted_elsewhere)
        out.violations += self._leftovers(root)
        out.violations += await _indexes(store)
        out.notes |= {
            "lost_writes_counted": counted_elsewhere + counted_by_submitters,
            "effects": len(traces),
            "server_starts": self._server.starts,
        }
        self._count(jobs)

    def _submissions(self, jobs: verdict.Jobs, counted_elsewhere: int) -> list[Violation]:
        lost = verdict.lost_acks(self._books, jobs)
        self._outcome.notes["acknowledged_and_lost"] = len(lost)
        undone = [replace(ack, door="direct", kind="cancel") for ack in self._undone]
        judged = verdict.judge_lost(
            [*lost, *undone],
            self._books,
            may_lose=self._server.may_lose,
            counted_elsewhere=counted_elsewhere,
        )
        return [*judged, *verdict.doubled_marks(jobs)]

    def _jobs(
        self, jobs: verdict.Jobs, traces: list[verdict.Trace], counted_elsewhere: int
    ) -> list[Violation]:
        found = list(self._judged(jobs, traces, verdict.NONE, cancels_are_gone=False))
        self._outcome.notes["excused_by_counted_loss"] = 0
        if self._server.may_lose:
            gone = verdict.forgotten(self._books, jobs, traces, counted_elsewhere=counted_elsewhere)
            counted = bool(counted_elsewhere or self._books.losses)
            kept = list(self._judged(jobs, traces, gone, cancels_are_gone=counted))
            self._outcome.notes["excused_by_counted_loss"] = len(found) - len(kept)
            found = kept
        return [replace(one, at_ms=self._asked_at_ms(one)) for one in found]

    def _judged(
        self,
        jobs: verdict.Jobs,
        traces: list[verdict.Trace],
        gone: verdict.Claims,
        *,
        cancels_are_gone: bool,
    ) -> Iterator[Violation]:
        mine = verdict.by_job(traces)
        for job_id, fields in jobs.items():
            yield from verdict.judge_job(job_id, fields, mine[job_id], gone)
            yield from verdict.judge_fields(job_id, fields)
        yield from verdict.acts_past_lease(traces, gone)
        yield from verdict.acts_without_lease(traces, self._silences, self._outcome.shape.lease_ms)
        for ack in self._books.acks.values():
            if ack.job_id in jobs:
                is_gone = cancels_are_gone and ack.job_id in self._books.cancels
                yield from verdict.judge_end(ack, jobs[ack.job_id], cancel_is_gone=is_gone)

    def _asked_at_ms(self, violation: Violation) -> int:
        ack = self._books.acks.get(violation.job_id)
        return 0 if ack is None else ack.at_ms

    def _leftovers(self, root: Path) -> list[Violation]:
        return [
            Violation("orphan", f"pid {one.pid} claim {one.claim} {' '.join(one.words)[:200]}")
            for one in leftovers(root)
            if one.pid not in self._server.pids and not one.is_nursery
        ]

    def _count(self, jobs: verdict.Jobs) -> None:
        out, books = self._outcome, self._books
        out.jobs += Counter(state_of(fields["state"]).value for fields in jobs.values())
        out.jobs["acknowledged"] = len(books.acks)
        out.jobs["repeated"] = books.repeated
        out.jobs["refused"] = books.refused
        completed = out.jobs[State.COMPLETED.value]
        if completed < out.shape.jobs_min:
            out.invalid.append(f"{completed} jobs completed, {out.shape.jobs_min} wanted")


async def _indexes(store: Store) -> list[Violation]:
    try:
        found = await faults_of(World(store.connection), half_written=False)
    finally:
        await store.connection.aclose()
    return [Violation("index", what) for what in found]
