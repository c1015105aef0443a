"""Short ways to give commands in tests of the store, as doors and schedulers do."""

from __future__ import annotations

from typing import Any

from contracts.control import Command, ControlRecord, make_command
from tests.store.world import Runner, World


def command(name: str, target: str, command_id: str = "c1", **args: Any) -> Command:
    """As a door makes it."""
    revision = args.pop("if_revision", None)
    return make_command(
        command_id, name, target, args, if_revision=revision, by="me", token=f"t-{command_id}"
    )


async def by_hand(world: World, **fields: str) -> str:
    """What an operator writes with XADD; the id of the entry."""
    given = {"v": "1", "args": "{}", **fields}
    words = [word for pair in given.items() for word in pair]
    return str(await world.redis("XADD", world.connection.keys.control, "*", *words))


async def apply_all(world: World) -> list[str | None]:
    """As a scheduler does that reads everything, the oldest first."""
    control, said = world.store.control, []
    for entry_id, fields in await control.waiting(most=100):
        said.append(await control.apply(entry_id, fields))
    return said


async def given(
    world: World, name: str, target: str, command_id: str = "c1", **args: Any
) -> ControlRecord:
    """A command, pushed and applied; its record."""
    await world.store.control.push(command(name, target, command_id, **args))
    assert await apply_all(world)
    return await world.store.control.command(command_id)


async def desired(world: World) -> dict[str, str]:
    found: dict[str, str] = await world.redis("HGETALL", world.connection.keys.desired)
    return found


async def acknowledge(world: World, runner: Runner, revision: int, **report: Any) -> None:
    command_id = report.pop("command_id", "")
    failed = report.pop("failed", False)
    await world.store.control.acknowledge(
        runner.runner_id, revision, command_id=command_id, failed=failed, report=report
    )
