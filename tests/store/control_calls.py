"""One call of every method that operators' commands and looks at pools come through; part of calls.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from contracts.control import Command, make_command
from contracts.errors import ErrorCode, Refused
from tests.store.scenes import Call, Scene, empty, running
from tests.store.world import World

COMMAND: Final = {"v": "1", "id": "c1", "target": "pool:default", "args": "{}"}


def commanded(**fields: str) -> Callable[[World], Awaitable[Scene]]:
    """A runner with a job, and a command that stands in the stream."""

    async def arrange(world: World) -> Scene:
        scene = await running(world)
        words = [word for pair in {**COMMAND, **fields}.items() for word in pair]
        scene.found = await world.redis("XADD", world.connection.keys.control, "*", *words)
        return scene

    return arrange


async def draining(world: World) -> Scene:
    scene = await commanded(command="drain", args='{"deadline_ms":60000}')(world)
    await world.store.control.apply(scene.found, {**COMMAND, "command": "drain"})
    return scene


async def canceling(world: World) -> Scene:
    scene = await commanded(command="cancel")(world)
    await world.store.control.apply(scene.found, {**COMMAND, "command": "cancel"})
    return scene


def _drain() -> Command:
    return make_command("c1", "drain", "pool:default", {}, by="me", token="t")


CONTROL_CALLS: Final[Mapping[str, Call]] = MappingProxyType(
    {
        "control.push": Call(empty, lambda store, _: store.control.push(_drain())),
        "control.waiting": Call(
            commanded(command="drain"), lambda store, _: store.control.waiting(most=9)
        ),
        "control.apply": Call(
            commanded(command="drain"),
            lambda store, scene: store.control.apply(scene.found, {**COMMAND, "command": "drain"}),
            lambda _first: "settled",
        ),
        "control.refuse": Call(
            commanded(command="drain"),
            lambda store, scene: store.control.refuse(
                scene.found, COMMAND, Refused(ErrorCode.INVALID_REQUEST, "no")
            ),
            lambda _first: "settled",
        ),
        "control.proceed": Call(canceling, lambda store, _: store.control.proceed()),
        "control.newest": Call(draining, lambda store, _: store.control.newest()),
        "control.wanted": Call(
            draining,
            lambda store, scene: store.control.wanted(pool="none", instance_id=scene.runner_id),
        ),
        "control.acknowledge": Call(
            draining,
            lambda store, scene: store.control.acknowledge(
                scene.runner_id, 1, command_id="c1", report={"force_stopped": 0, "left": 0}
            ),
        ),
        "control.command": Call(draining, lambda store, _: store.control.command("c1")),
        "control.commands": Call(draining, lambda store, _: store.control.commands(limit=9)),
        "census.take": Call(running, lambda store, _: store.census.take()),
        "census.moved": Call(running, lambda store, _: store.census.moved("0-0")),
        "pools.pools": Call(running, lambda store, _: store.pools.pools()),
        "pools.check": Call(running, lambda store, _: store.pools.check("default")),
        "pools.health": Call(running, lambda store, _: store.pools.health("default")),
        "pools.replica_sets": Call(running, lambda store, _: store.pools.replica_sets()),
        "pools.workload": Call(running, lambda store, _: store.pools.workload("default")),
    }
)
