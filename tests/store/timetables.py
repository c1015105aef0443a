"""Small builders about schedules, so that a test reads as a story."""

from __future__ import annotations

from typing import Any

from contracts.limits import MINUTE_MS
from contracts.schedules import Fired
from orch.core.firing import Firing, firing_of
from orch.store.schedules import Timetable
from tests.store.world import World, spec


def schedule(schedule_id: str = "s", **keys: Any) -> dict[str, Any]:
    """The smallest schedule, every minute, with `keys` over it."""
    return {"schedule_id": schedule_id, "cron": "* * * * *", "spec": spec(), **keys}


async def due_since(world: World, minutes: int, schedule_id: str = "s") -> int:
    """The schedule's time is set to so many whole minutes ago, as if nobody had run meanwhile."""
    keys = world.connection.keys
    at_ms = (await world.now_ms() // MINUTE_MS - minutes) * MINUTE_MS
    await world.redis("HSET", keys.schedule("default", schedule_id), "next", at_ms)
    await world.redis("ZADD", keys.due, at_ms, f"cron:default:{schedule_id}:0")
    return at_ms


async def read(world: World, schedule_id: str = "s") -> Timetable:
    """As a scheduler reads it."""
    table = await world.store.schedules.due("default", schedule_id)
    assert table is not None
    return table


async def carry_out(world: World, table: Timetable) -> Fired | None:
    """As a scheduler does who read it so."""
    assert table.next_ms is not None
    firing = firing_of(table.spec, expected_ms=table.next_ms, now_ms=table.read_at_ms)
    assert firing is not None
    return await world.store.schedules.fire(table, firing)


async def fired(world: World, minutes: int = 0) -> Fired:
    """The schedule's time of so many minutes ago is carried out, as if it had been in time."""
    at_ms = await due_since(world, minutes)
    step = Firing(at_ms, at_ms, at_ms + MINUTE_MS, makes_job=True, missed=0)
    found = await world.store.schedules.fire(await read(world), step)
    assert found is not None
    return found


async def jobs(world: World) -> list[str]:
    """Every job there is."""
    found: list[str] = await world.redis("ZRANGE", world.connection.keys.jobs("default"), 0, -1)
    return found
