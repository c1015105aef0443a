"""The entries of `calls.py` about schedules."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from orch.core.firing import Firing
from orch.store.store import Store
from tests.store.scenes import Call, Scene, empty
from tests.store.world import World, spec

LATER_MS: Final = 4_000_000_000_000
TIMETABLE: Final = {"schedule_id": "s", "cron": "@yearly", "spec": spec()}
LONG_AGO_MS: Final = 1_000_000_000_000
ONE_TIME: Final = Firing(LONG_AGO_MS, LONG_AGO_MS, LATER_MS, makes_job=True, missed=0)


async def scheduled(world: World) -> Scene:
    """A schedule that comes once a year, far away."""
    await world.pool()
    await world.store.schedules.put(TIMETABLE)
    return Scene(world)


async def due_schedule(world: World) -> Scene:
    """The same, whose time has come."""
    scene = await scheduled(world)
    key = world.connection.keys.schedule("default", "s")
    await world.redis("HSET", key, "next", LONG_AGO_MS)
    await world.redis("ZADD", world.connection.keys.due, LONG_AGO_MS, "cron:default:s:0")
    scene.found = await world.store.schedules.due("default", "s")
    return scene


async def paused_schedule(world: World) -> Scene:
    scene = await scheduled(world)
    await world.store.schedules.pause("default", "s")
    return scene


async def _put(store: Store, _scene: Scene) -> Any:
    return await store.schedules.put({**TIMETABLE, "overlap": "queue"}, if_revision=0)


async def _fire(store: Store, scene: Scene) -> Any:
    return await store.schedules.fire(scene.found, ONE_TIME)


SCHEDULE_CALLS: Final[Mapping[str, Call]] = MappingProxyType(
    {
        "schedules.put": Call(empty, _put),
        "schedules.pause": Call(scheduled, lambda store, _: store.schedules.pause("default", "s")),
        "schedules.resume": Call(
            paused_schedule, lambda store, _: store.schedules.resume("default", "s")
        ),
        "schedules.delete": Call(
            scheduled, lambda store, _: store.schedules.delete("default", "s")
        ),
        "schedules.fire_now": Call(
            scheduled, lambda store, _: store.schedules.fire_now("default", "s")
        ),
        "schedules.get": Call(scheduled, lambda store, _: store.schedules.get("default", "s")),
        "schedules.page": Call(
            scheduled, lambda store, _: store.schedules.page(tenant=None, limit=9, cursor=None)
        ),
        "schedules.due": Call(due_schedule, lambda store, _: store.schedules.due("default", "s")),
        "schedules.fire": Call(due_schedule, _fire),
    }
)
"""By family and method."""
