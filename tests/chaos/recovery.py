"""How long after kill -9 of a runner do its jobs begin again?

From the signal to the first line of the next attempt's agent, as a reader of the effects file sees it, with
nothing else going wrong. Buried by the supervisor at once; or found by a reaper when the lease is over; or
all reapers are killed at the same moment, and one that comes back finds it.

Several runners may be dead at a time, each killed at a moment of its own, so that a long lease has many
samples. They are fewer than half of all instances: the silence of more is taken for the server's, and costs a
lease.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio

from contracts.limits import FENCE_SHIFT
from orch.core.asks import Ask
from orch.system import monotonic_ms
from tests.chaos.house import Actor, House
from tests.chaos.load import goes_on
from tests.chaos.plan import OTHERS, Measurement
from tests.chaos.proxy import Proxy
from tests.chaos.run import Run
from tests.chaos.shape import Outcome, Shape
from tests.chaos.verdict import Trace, trace_of

SLACK_MS: Final = 2_000
"""p99 is at most this above the leases that must pass."""
REAPERS_BACK_MS: Final = 1_000
"""From the death of all reapers until they are started again. A supervisor waits 200 ms (RESTART_MS_FIRST)
and Python imports for half a second, which the nursery spares its children; a container takes as long."""
_POLL_S: Final = 0.004
Before = dict[str, Trace]
"""Job -> the attempt of it that was killed."""
Victim = tuple[Actor, Before]


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


def bound_ms(one: Measurement) -> int:
    """What p99 may be. A reaper that comes back has seen nothing yet, and waits for a whole lease; it may be
    away for as long."""
    return {"supervisor": 0, "reaper": 1, "new-reaper": 2}[one.found_by] * one.lease_ms + SLACK_MS


def fence_of(claim: str) -> int:
    """The number that agents have of a claim."""
    incarnation, number, _ = claim.split(".", 2)
    return (int(incarnation) << FENCE_SHIFT) + int(number)


def begun_again(before: Before, began: Before) -> tuple[list[str], list[str]]:
    """Jobs that run under a newer claim: by the next attempt, and by a later one. Of these the first heir was
    killed too before his agent spoke: they waited for two deaths and say nothing about one."""
    newer = {job_id: old for job_id, old in before.items() if began[job_id].fence > old.fence}
    recovered = [
        job_id for job_id, old in newer.items() if began[job_id].attempt == old.attempt + 1
    ]
    return recovered, [job_id for job_id in newer if job_id not in recovered]


class Recovery(Run):
    """A run without a storm: runners that hold jobs are killed, at most `at_once` of them at a time."""

    def __init__(self, shape: Shape, seed: str, root: Path, *, one: Measurement) -> None:
        super().__init__(replace(shape, submitters=1, only=("nothing",)), seed, root)
        self.one = one
        self._rng = Random(f"{seed}/recovery")
        self._made = 0
        self._began: Before = {}
        self.took_ms: list[float] = []
        self.kills = 0
        self.moments = 0
        self.struck_twice = 0

    async def _storm(self, house: House, proxy: Proxy) -> None:
        tail = Tail(self.scene.effects)
        await self._fill(tail)
        until_ms = monotonic_ms() + int(self.one.seconds * 1000)
        # Reapers that die forget what they saw of all others: everybody is killed with them, or nobody.
        with_reapers = self.one.found_by == "new-reaper"
        lanes, victims = (1, self.one.at_once) if with_reapers else (self.one.at_once, 1)
        async with anyio.create_task_group() as tasks:
            for _ in range(lanes):
                tasks.start_soon(self._kill_until, until_ms, house, tail, victims)
        for job_id in self._began:
            await self.submitters[0].store.steering.cancel(job_id, by="recovery")
        self.outcome.jobs["recovered"] = len(self.took_ms)
        if self.kills < self.one.kills_min:
            self.outcome.invalid.append(f"{self.kills} kills, {self.one.kills_min} wanted")

    async def _fill(self, tail: Tail) -> None:
        """Half of all slots are busy with jobs that go on, so that there is room to begin again."""
        wanted = self.shape.runners * self.shape.slots // 2
        for _ in range(wanted):
            self._made += 1
            job_id = f"on.{self._made}"
            spec = {**goes_on(self.scene), "id": job_id, "labels": {"mark": job_id}}
            await self.submitters[0].store.admission.admit([Ask(spec)])
        with anyio.fail_after(30):
            while len(self._began) < wanted:
                self._note(tail.read())
                await anyio.sleep(_POLL_S)

    def _note(self, traces: Sequence[Trace]) -> None:
        for trace in traces:
            self._began[trace.job_id] = trace

    async def _kill_until(self, until_ms: int, house: House, tail: Tail, victims: int) -> None:
        while monotonic_ms() < until_ms:
            # Anywhere in the beat's period.
            await anyio.sleep(self._rng.uniform(0, self.shape.lease_ms / 3000))
            reapers = house.of_role("reaper") if self.one.found_by == "new-reaper" else []
            if all(reaper.serves for reaper in reapers):
                chosen = await self._holders(house, victims)
                # No await from here to the signals: nobody else may choose the same.
                killed_ms = monotonic_ms()
                for reaper in reapers if chosen else ():
                    reaper.back_s = REAPERS_BACK_MS / 1000
                    house.kill(reaper, "kill")
                before = self._kill(house, chosen)
                await self._await_next_attempts(tail, before, killed_ms)

    def _kill(self, house: House, victims: Sequence[Victim]) -> Before:
        self.moments += bool(victims)
        self.kills += len(victims)
        for actor, _ in victims:
            actor.bury_at_once = self.one.found_by == "supervisor"
            house.kill(actor, "kill")
        return {job_id: trace for _, before in victims for job_id, trace in before.items()}

    async def _await_next_attempts(self, tail: Tail, before: Before, killed_ms: int) -> None:
        with anyio.fail_after(2 * bound_ms(self.one) / 1000 + 30):
            while before:
                self._note(tail.read())
                recovered, struck_twice = begun_again(before, self._began)
                self.took_ms += [monotonic_ms() - killed_ms] * len(recovered)
                self.struck_twice += len(struck_twice)
                for job_id in (*recovered, *struck_twice):
                    del before[job_id]
                await anyio.sleep(_POLL_S)

    async def _holders(self, house: House, count: int) -> list[Victim]:
        """So many runners all of whose jobs have begun under the claim that is in force, or none."""
        store = self.submitters[0].store
        by_pid = {about["pid"]: name for name, about in (await store.leases.instances()).items()}
        living = [actor for actor in house.of_role("runner") if actor.serves]
        # Another lane may kill one while this one asks: its process is another then.
        runners = [(one, one.pid) for one in living if one.pid in by_pid]
        self._rng.shuffle(runners)
        found: list[Victim] = []
        for actor, pid in runners:
            held = await store.claims.held(by_pid[pid])
            begun = {job_id: self._began[job_id] for job_id in held if job_id in self._began}
            is_whole = all(
                job_id in begun and begun[job_id].fence == fence_of(claim)
                for job_id, claim in held.items()
            )
            if held and is_whole and actor.pid == pid and not actor.doomed:
                found.append((actor, begun))
            if len(found) == count:
                return found
        return []

    def figures(self) -> dict[str, Any]:
        """What was measured."""
        took, limit = self.took_ms, bound_ms(self.one)
        about = {
            "kills": self.kills,
            "moments": self.moments,
            "jobs": len(took),
            "struck_twice": self.struck_twice,
            "target_ms": limit,
        }
        if not took:
            return {**about, "met": False}
        return {
            **about,
            "min_ms": min(took),
            "p50_ms": quantile(took, 0.5),
            "p99_ms": quantile(took, 0.99),
            "max_ms": max(took),
            "met": quantile(took, 0.99) <= limit,
        }


async def measure(seed: str, root: Path, one: Measurement) -> tuple[Outcome, dict[str, Any]]:
    """One measurement; its run is judged like any other."""
    name = f"recovery-{one.lease_ms}-{one.found_by}"
    shape = Shape(
        name,
        seconds=one.seconds,
        lease_ms=one.lease_ms,
        runners=one.runners,
        slots=4,
        others=OTHERS,
        jobs_min=0,
        more={"crashes_max": 100, "attempts_max": 100, "backoff_ms": 0, "backoff_ms_max": 0},
    )
    run = Recovery(shape, f"{seed}/{name}", root / name, one=one)
    outcome = await run.whole()
    return outcome, run.figures()
