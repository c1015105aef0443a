"""Who uses the stack during a soak: a submitter, readers of event streams, and somebody who keeps schedules.

All of it goes over HTTP, by the client that users have.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import anyio

from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.events import Frame
from contracts.states import State
from orch.client import Orch, calls_webhooks
from orch.system import monotonic_ms, wall_ms
from tests.chaos.load import Scene
from tests.chaos.submit import Ack
from tests.e2e.specs import call, shell
from tests.soak.follow import Books
from tests.soak.load import draw, is_plain

OPEN_MAX: Final = 60
"""A slow machine gets less to do, not longer lines."""
READERS: Final = 3
TICKING: Final = "every-minute"
_AGAIN: Final = 0.05
"""Share of the submissions that are asked twice."""
_SCHEDULE_S: Final = 20.0
_READ_S: Final = 1.0
_LANES: Final = 4
_IN_A_ROW: Final = 50


class Traffic:
    """All callers of one stack."""

    def __init__(self, api: Orch, scene: Scene, books: Books, rng: Random, run_id: str) -> None:
        self._api = api
        self._scene = scene
        self._books = books
        self._rng = rng
        self._run_id = run_id
        self._submitted = 0
        self._fired = 0

    # -- jobs

    async def prefill(self, is_full: Callable[[], bool]) -> int:
        """Small jobs, a call for each, until what is bounded by a number of calls has all it may have:
        from then on it is flat. Returns how many."""
        before = self._submitted
        while not is_full():
            async with anyio.create_task_group() as tasks:
                for _ in range(_LANES):
                    tasks.start_soon(self._small_ones)
        return self._submitted - before

    async def _small_ones(self) -> None:
        for _ in range(_IN_A_ROW):
            self._submitted += 1
            await self._api.submit(call("async_echo", 0, config={"isolation": "inline"}))

    async def submit(self, per_second: float) -> None:
        """Jobs at random moments, so many a second on average, until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                await anyio.sleep(self._rng.expovariate(per_second))
                if len(self._books.open) < OPEN_MAX:
                    tasks.start_soon(self._submit)
                else:
                    self._books.counts["held back"] += 1

    async def _submit(self) -> None:
        self._submitted += 1
        mark = f"{self._run_id}.{self._submitted}"
        kind, spec = draw(self._scene, self._rng, mark, wall_ms())
        began_ms = monotonic_ms()
        try:
            answer = await self._api.submit(spec)
        except Unavailable as error:  # nothing hurts this stack: it must answer
            self._books.violate("broken", f"mark {mark} was not taken: {error}")
            return
        now_ms = monotonic_ms()
        self._books.latencies["submit"].append(now_ms - began_ms)
        self._books.open[answer.job_id] = Ack(
            answer.job_id, mark, kind, "http", self._run_id, 0, 0, now_ms
        )
        if is_plain(spec):
            self._books.plain.add(answer.job_id)
        if self._rng.random() < _AGAIN:
            await self._ask_again(spec, answer.job_id)
        if kind == "endless":
            await anyio.sleep(self._rng.uniform(0.1, 1.5))
            await self._cancel(answer.job_id)

    async def _ask_again(self, spec: dict[str, Any], job_id: str) -> None:
        again = await self._api.submit(spec)
        self._books.counts["asked again"] += 1
        if (again.job_id, again.duplicate) != (job_id, True):
            mark = spec["idempotency_key"]
            self._books.violate("double", f"key {mark} is job {job_id} and job {again.job_id}")

    async def _cancel(self, job_id: str) -> None:
        try:
            await self._api.cancel(job_id)
        except Refused as error:
            if error.code not in {ErrorCode.INVALID_TRANSITION, ErrorCode.NOT_FOUND}:
                raise
        self._books.counts["canceled"] += 1

    async def stop_the_endless(self) -> None:
        """The load was cut off before it could cancel them itself."""
        for ack in list(self._books.open.values()):
            if ack.kind == "endless":
                await self._cancel(ack.job_id)

    async def unblock(self, job_id: str, kind: str) -> None:
        """Answers its question; a job that asks and should not is canceled, and judged as what it is."""
        record = await self._api.job(job_id)
        if record.state is not State.BLOCKED:
            return
        if kind == "asks" and record.question is not None:
            await self._api.answer(job_id, record.question.question_id, "yes")
            self._books.counts["answered"] += 1
        else:
            self._books.counts["blocked unasked"] += 1
            await self._cancel(job_id)

    # -- readers

    async def read(self) -> None:
        """Follows the streams of open jobs, one after the other, and looks at pages as people do."""
        while True:
            await anyio.sleep(self._rng.expovariate(1 / _READ_S))
            jobs = list(self._books.open)
            if not jobs:
                continue
            job_id = self._rng.choice(jobs)
            try:
                await self._follow(job_id)
                await self._api.jobs(limit=20)
                await self._api.logs(job_id)
                await self._api.explain(job_id)
            except Refused as error:
                if error.code is not ErrorCode.NOT_FOUND:
                    raise
                self._books.counts["read too late"] += 1

    async def _follow(self, job_id: str) -> None:
        seqs: list[int] = []
        async for frame in self._api.events(job_id):
            if frame.event is Frame.STATUS:
                seqs.append(int(frame.data["seq"]))  # noqa: PERF401 - it may end at any of them
        self._books.counts["streams read"] += 1
        if seqs != sorted(set(seqs)):
            self._books.violate("broken", f"job {job_id}: its stream told {seqs}", job_id)

    # -- schedules and webhooks

    async def keep_schedules(self) -> None:
        """One ticks every minute; others are put, fired and deleted again."""
        spec = shell("true")
        ticking = {"schedule_id": TICKING, "cron": "* * * * *", "spec": spec}
        await self._api.put_schedule(ticking)
        while True:
            self._fired += 1
            name = f"once-{self._fired}"
            await self._api.put_schedule({"schedule_id": name, "cron": "30 2 * * *", "spec": spec})
            await self._api.fire_schedule(name)
            await self._api.delete_schedule(name)
            self._books.counts["schedules fired"] += 1
            await anyio.sleep(_SCHEDULE_S)

    async def hook(self, url: str) -> None:
        """Ends of the jobs of one tenant are told there from now on."""
        await self._api.run(calls_webhooks.add(url, tenant="left"))
