"""Schedules in a run: stored by whoever keeps them, their time set back in the storm, judged at the end.

No cron expression comes more often than once a minute, so a schedule begins far ahead and is then set, in the
server's data, to a time some minutes ago: its runs are made up for while everything breaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import orjson

from contracts.errors import OrchError
from contracts.limits import DAY_MS, MINUTE_MS
from orch.core.ledger import parse_ledger
from orch.store.keys import Keys
from orch.store.store import Store
from tests.sim.history import History
from tests.sim.loop import Process
from tests.sim.ports import SimClock
from tests.sim.server import Link
from tests.sim.world import Unit, World

TRIES = 8
LATE_MS = 30_000
"""In calm weather a time that has come is carried out within this."""
_FATES = ("fired", "skipped", "refused", "missed")


class Timekeeper:
    """Whoever keeps the schedules of a run; it never dies."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = Random(f"{world.plan.seed}/timekeeper")
        self.done = 0

    def start(self) -> None:
        """One process for each schedule."""
        for n in range(self._world.plan.schedules):
            name = f"timekeeper{n}"
            process = Process(name)
            unit = Unit(name, "gateway", n, process, Link(process), self._world.host(name))
            self._world.units.append(unit)
            store = self._world.store(unit, SimClock(unit.host))
            _ = self._world.loop.start(process.main, self._keep(store, f"s{n}"), name=name)

    async def _keep(self, store: Store, schedule_id: str) -> None:
        await self._declare(store, schedule_id)
        self.done += 1

    async def _declare(self, store: Store, schedule_id: str) -> None:
        storm_s = self._world.plan.safety_ms / 1000
        await asyncio.sleep(self._rng.uniform(0, 0.4) * storm_s)
        if not await self._put(store, schedule_id):
            return
        await asyncio.sleep(self._rng.uniform(0, 0.5) * storm_s)
        while not self._world.server.up:
            await asyncio.sleep(0.1)
        self._set_back(schedule_id)

    async def _put(self, store: Store, schedule_id: str) -> bool:
        plan = self._world.plan
        sim = {"mark": f"by-{schedule_id}", "work_ms": plan.work_ms, "poison": False}
        document = {
            "schedule_id": schedule_id,
            "cron": "* * * * *",
            "start_at_ms": self._world.server.wall_ms() + DAY_MS,
            "overlap": self._rng.choice(("queue", "queue", "skip")),
            "missed_runs": self._rng.choice(("all", "all", "last", "skip")),
            "spec": {
                "name": schedule_id,
                "adapter": {"name": "command", "config": {"argv": ["agent"]}},
                "inputs": {"sim": sim},
            },
        }
        for _ in range(TRIES):
            try:
                await store.schedules.put(document)
            except OrchError:
                await asyncio.sleep(self._rng.uniform(0.1, 1.0))
            else:
                return True
        return False

    def _set_back(self, schedule_id: str) -> None:
        """Its first time was some minutes ago, the last one is over: no job comes after the storm's end."""
        server = self._world.server
        fields = server.backend.contents().get(f"schedule:default:{schedule_id}")
        if fields is None:  # the data went back behind it
            return
        now_ms = server.wall_ms() // MINUTE_MS * MINUTE_MS
        first_ms = now_ms - self._rng.randrange(5) * MINUTE_MS
        about = orjson.loads(fields["about"])
        about.pop("start_at_ms", None)
        told = orjson.dumps({**about, "end_at_ms": now_ms}).decode()
        key, due = Keys(0).schedule("default", schedule_id), Keys(0).due
        server.backend.execute(["HSET", key, "about", told, "next", first_ms, "first", first_ms])
        server.backend.execute(["ZADD", due, first_ms, f"cron:default:{schedule_id}:0"])
        self._world.history.sometimes["a schedule was due"] += 1


def is_firing(data: Mapping[str, Any], now_ms: int) -> bool:
    """Whether a schedule that was set back has times left; a clock that was ahead makes them come late."""
    kept = [fields for name, fields in data.items() if name.startswith("schedule:")]
    soon_ms = now_ms + 2 * MINUTE_MS
    return any(int(fields["next"]) <= soon_ms for fields in kept if "next" in fields)


def check_schedules(
    history: History, data: Mapping[str, Any], jobs: Mapping[str, Mapping[str, str]], now_ms: int
) -> None:
    """Each time of each schedule was carried out once: a job for each that fired, none without a fate."""
    made = [parse_ledger(fields)[0].payload.get("schedule_id") for fields in jobs.values()]
    for name, fields in data.items():
        if not name.startswith("schedule:"):
            continue
        told = {fate: int(fields.get(fate, "0")) for fate in _FATES}
        schedule_id = name.rpartition(":")[2]
        if made.count(schedule_id) != told["fired"]:
            found = f"{told['fired']} times, {made.count(schedule_id)} jobs are there"
            history.violation("double", f"{schedule_id} fired {found}")
        # A clock that was far ahead passed over more than a schedule counts.
        if "first" in fields and "last" in fields and not history.faults["clock_jump"]:
            times = (int(fields["last"]) - int(fields["first"])) // MINUTE_MS + 1
            if sum(told.values()) != times:
                history.violation(
                    "lost", f"{schedule_id} had {times} times, of which became {told}"
                )
        if int(fields.get("next", now_ms)) < now_ms - LATE_MS:
            history.violation("stuck", f"{schedule_id} was not fired: {fields}")
