"""How long after kill -9 of a runner do its jobs begin again?

From the signal to the first line of the next attempt's agent, as a reader of the effects file sees it, with
nothing else going wrong. Buried by the supervisor at once, or found by the reaper when the lease is over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio

from orch.core.asks import Ask
from orch.system import monotonic_ms
from tests.chaos.house import Actor, House
from tests.chaos.load import goes_on
from tests.chaos.proxy import Proxy
from tests.chaos.run import Run
from tests.chaos.shape import Outcome, Shape
from tests.chaos.verdict import Trace, trace_of

SLACK_MS: Final = 2_000
"""p99 is at most the lease and this."""
_POLL_S: Final = 0.004


def quantile(values: Sequence[float], q: float) -> float:
    """The value that a share `q` of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


@dataclass(slots=True)
class Tail:
    """New lines of the effects file."""

    path: Path
    offset: int = 0
    rest: str = ""

    def read(self) -> list[Trace]:
        """Lines since the last call."""
        if not self.path.exists():
            return []
        with self.path.open() as file:
            file.seek(self.offset)
            text = self.rest + file.read()
            self.offset = file.tell()
        *lines, self.rest = text.split("\n")
        rows = map(trace_of, lines)
        return [row for row in rows if row is not None]


class Recovery(Run):
    """A run without a storm: runners that hold jobs are killed one after the other."""

    def __init__(self, shape: Shape, seed: str, root: Path, *, supervised: bool) -> None:
        super().__init__(replace(shape, submitters=1, only=("nothing",)), seed, root)
        self._supervised = supervised
        self._rng = Random(f"{seed}/recovery")
        self._made = 0
        self._began: dict[str, Trace] = {}
        self.took_ms: list[float] = []
        self.kills = 0

    async def _storm(self, house: House, proxy: Proxy) -> None:
        tail = Tail(self.scene.effects)
        until_ms = monotonic_ms() + int(self.shape.seconds * 1000)
        while monotonic_ms() < until_ms:
            await self._fill(tail)
            await self._kill_one(house, tail)
        for job_id in self._began:
            await self.submitters[0].store.steering.cancel(job_id, by="recovery")
        self.outcome.jobs["recovered"] = len(self.took_ms)

    async def _fill(self, tail: Tail) -> None:
        """Half of all slots are busy with jobs that go on, so that there is room to begin again."""
        wanted = self.shape.runners * self.shape.slots // 2 - len(self._began)
        for _ in range(wanted):
            self._made += 1
            job_id = f"on.{self._made}"
            spec = {**goes_on(self.scene), "id": job_id, "labels": {"mark": job_id}}
            await self.submitters[0].store.admission.admit([Ask(spec)])
        with anyio.fail_after(30):
            while len(self._began) < self.shape.runners * self.shape.slots // 2:
                self._note(tail.read())
                await anyio.sleep(_POLL_S)

    def _note(self, traces: Sequence[Trace]) -> None:
        for trace in traces:
            self._began[trace.job_id] = trace

    async def _kill_one(self, house: House, tail: Tail) -> None:
        victim = await self._holder(house)
        if victim is None:
            await anyio.sleep(0.1)
            return
        actor, job_ids = victim
        before = {job_id: self._began[job_id].fence for job_id in job_ids}
        # Anywhere in the beat's period.
        await anyio.sleep(self._rng.uniform(0, self.shape.lease_ms / 3000))
        actor.bury_at_once = self._supervised
        killed_ms = monotonic_ms()
        house.kill(actor, "kill")
        self.kills += 1
        with anyio.fail_after(self.shape.lease_ms / 1000 * 3 + 30):
            while before:
                self._note(tail.read())
                for job_id in [j for j, fence in before.items() if self._began[j].fence > fence]:
                    del before[job_id]
                    self.took_ms.append(monotonic_ms() - killed_ms)
                await anyio.sleep(_POLL_S)

    async def _holder(self, house: House) -> tuple[Actor, list[str]] | None:
        leases = self.submitters[0].store.leases
        by_pid = {about["pid"]: name for name, about in (await leases.instances()).items()}
        runners = [a for a in house.of_role("runner") if a.serves and a.pid in by_pid]
        self._rng.shuffle(runners)
        for actor in runners:
            held = await self.submitters[0].store.claims.held(by_pid[actor.pid])
            begun = [job_id for job_id in held if job_id in self._began]
            if begun and len(begun) == len(held):
                return actor, begun
        return None

    def figures(self) -> dict[str, Any]:
        """What was measured."""
        took = self.took_ms
        limit = self.shape.lease_ms + SLACK_MS
        return {
            "kills": self.kills,
            "jobs": len(took),
            "p50_ms": quantile(took, 0.5),
            "p99_ms": quantile(took, 0.99),
            "max_ms": max(took),
            "target_ms": limit,
            "met": quantile(took, 0.99) <= limit,
        }


async def measure(
    seed: str, root: Path, *, lease_ms: int, seconds: float, supervised: bool
) -> tuple[Outcome, dict[str, Any]]:
    """One measurement; its run is judged like any other."""
    name = f"recovery-{lease_ms}-{'supervisor' if supervised else 'reaper'}"
    shape = Shape(
        name,
        seconds=seconds,
        lease_ms=lease_ms,
        runners=4,
        slots=4,
        others=2,
        jobs_min=0,
        more={"crashes_max": 100, "attempts_max": 100, "backoff_ms": 0, "backoff_ms_max": 0},
    )
    run = Recovery(shape, f"{seed}/{name}", root / name, supervised=supervised)
    outcome = await run.whole()
    return outcome, run.figures()
