"""One soak: a real stack, its callers, a look at it every few seconds, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import anyio
import anyio.to_thread
import redis

from contracts.limits import HOUR_MS, MINUTE_MS
from orch.client import Endpoint, Orch
from orch.store.keys import Keys
from orch.system import monotonic_ms, wall_ms
from tests.actors.receiver import Receiver, receiving
from tests.chaos.load import Scene
from tests.chaos.verdict import Violation
from tests.e2e.stack import Stack, watched
from tests.soak.follow import Books, Follower
from tests.soak.gauges import Gauges
from tests.soak.judge import Sample
from tests.soak.traffic import READERS, TICKING, Traffic

RETENTION_MS: Final = MINUTE_MS
"""The shortest there is."""
FOLLOW_S: Final = 0.5
AGE_S: Final = 15.0
TELL_S: Final = 60.0
DRAIN_S: Final = 120.0
"""The open jobs come to rest in seconds; the rest is a slow machine."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how much, how often."""

    seconds: float
    jobs_per_s: float
    sample_s: float
    feed_min: int
    """Entries of the feed before the first sample; all it may have (FEED_ENTRIES_MAX) for a judgement."""
    seed: str


@dataclass
class Result:
    """What came of it."""

    plan: Plan
    samples: list[Sample] = field(default_factory=list)
    books: Books = field(default_factory=Books)
    removed: int = 0
    """Jobs that retention has taken away."""
    hooked: int = 0
    """Requests that the webhook's receiver got."""
    fired: int = 0
    """Times at which the schedule that ticks every minute made a job."""
    faults: list[str] = field(default_factory=list)
    """What the server held at the end and should not."""

    @property
    def violations(self) -> list[Violation]:
        """Broken promises of all kinds."""
        return [*self.books.violations, *(Violation("broken", fault) for fault in self.faults)]


def run(plan: Plan, root: Path, say: Callable[[str], object]) -> Result:
    """The whole of it; the stack is gone afterwards, and nothing of it is left running."""
    scene = Scene(root / "effects.txt", root / "poison.txt", root / "truce", lease_ms=1_000)
    settings = {"retention_ms": RETENTION_MS, "slots": 8, "webhook_hosts_allowed": "127.0.0.0/8"}
    result = Result(plan)
    stack = Stack(root, settings)
    try:
        with watched(stack), receiving() as receiver:
            anyio.run(Soak(stack, scene, result, receiver, say).whole)
    except AssertionError:
        if not stack.found:
            raise
    result.faults = stack.found
    return result


class Soak:
    """A soak under way."""

    def __init__(
        self,
        stack: Stack,
        scene: Scene,
        result: Result,
        receiver: Receiver,
        say: Callable[[str], object],
    ) -> None:
        self._stack = stack
        self._scene = scene
        self._result = result
        self._receiver = receiver
        self._say = say
        self._books = result.books
        self._follower = Follower(stack.redis, self._books, scene.effects)
        self._gauges = Gauges(stack)
        self._began_ms = monotonic_ms()

    async def whole(self) -> None:
        """From the first job to the last look."""
        plan = self._result.plan
        async with Orch(Endpoint(self._stack.url)) as api:
            traffic = Traffic(api, self._scene, self._books, Random(plan.seed), "s")
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._follow, traffic)
                watch.start_soon(self._age)
                await traffic.hook(self._receiver.url)
                self._say(f"{await traffic.prefill(self._is_full)} small jobs before the start")
                await self._under_load(traffic, plan)
                await traffic.stop_the_endless()
                with anyio.move_on_after(DRAIN_S):
                    while self._books.open:
                        await anyio.sleep(FOLLOW_S)
                watch.cancel_scope.cancel()
            for job_id, ack in self._books.open.items():
                self._books.violate(
                    "stuck", f"job {job_id} ({ack.kind}) never came to rest", job_id
                )
            await self._count(api)

    async def _under_load(self, traffic: Traffic, plan: Plan) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(traffic.submit, plan.jobs_per_s)
            for _ in range(READERS):
                tasks.start_soon(traffic.read)
            tasks.start_soon(traffic.keep_schedules)
            tasks.start_soon(self._sample, plan.sample_s)
            tasks.start_soon(self._tell)
            await anyio.sleep(plan.seconds)
            tasks.cancel_scope.cancel()

    def _is_full(self) -> bool:
        return bool(self._stack.redis.xlen(Keys().feed) >= self._result.plan.feed_min)

    async def _follow(self, traffic: Traffic) -> None:
        while True:
            blocked = await anyio.to_thread.run_sync(self._follower.look)
            for job_id, kind in blocked:
                await traffic.unblock(job_id, kind)
            await anyio.sleep(FOLLOW_S)

    async def _sample(self, every_s: float) -> None:
        await anyio.to_thread.run_sync(self._gauges.look)  # the first has no CPU time
        while True:
            await anyio.sleep(every_s)
            look = await anyio.to_thread.run_sync(self._gauges.look)
            self._result.samples.append({**look, **self._books.figures()})
            self._result.hooked += len(self._receiver.got)
            self._receiver.got.clear()

    async def _age(self) -> None:
        while True:
            with suppress(redis.ConnectionError):
                await anyio.to_thread.run_sync(age, self._stack.redis)
            await anyio.sleep(AGE_S)

    async def _tell(self) -> None:
        while True:
            await anyio.sleep(TELL_S)
            passed_s = (monotonic_ms() - self._began_ms) // 1_000
            last = self._result.samples[-1] if self._result.samples else {}
            self._say(
                f"{passed_s} s: {self._books.judged.total()} jobs judged, {len(self._books.open)} open, "
                f"{last.get('keys:job', 0):.0f} stored, {len(self._books.violations)} violations"
            )

    async def _count(self, api: Orch) -> None:
        client = self._stack.redis
        arrived = int(client.hget(Keys().meta, "arrivals") or 0)
        self._result.removed = arrived - sum(1 for _ in client.scan_iter(Keys().job("*")))
        ticking = await api.schedule(TICKING)
        self._result.fired = ticking.counts.fired


def _retire(hour: int) -> str:
    return f"{Keys().prefix}retire:{hour}"


def age(client: redis.Redis) -> int:
    """Says of finished jobs past their retention that they ended an hour or two earlier; how many.

    Retention goes by the hour (`retire.lua`), which a soak of less than some hours would hardly see: so time
    is set back in the data, as the schedules' tests do. What removes them is the reaper's own call. The job
    must say so too: else the repair sweep puts it back where its own words belong.
    """
    now_ms = wall_ms()
    over = (now_ms - RETENTION_MS) // HOUR_MS - 1
    aged = 0
    for hour in (over + 1, over + 2):
        ids = [str(one) for one in client.smembers(_retire(hour))]
        pipe = client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hget(Keys().job(job_id), "finished_at")
        for job_id, finished in zip(ids, pipe.execute(), strict=True):
            if finished is not None and int(finished) < now_ms - RETENTION_MS:
                earlier_ms = over * HOUR_MS + int(finished) % HOUR_MS
                both = client.pipeline(transaction=True)
                both.hset(Keys().job(job_id), "finished_at", earlier_ms)
                both.sadd(_retire(over), job_id)
                both.srem(_retire(hour), job_id)
                both.execute()
                aged += 1
    return aged
