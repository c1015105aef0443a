"""The scheduler process: timers and sweeps, and the commands of operators."""

from __future__ import annotations

from functools import partial

from actors.body import Body, living
from actors.instance import every
from actors.mailbox import mailbox_of, serve
from actors.scheduler.commands import Commands
from actors.scheduler.perform import SWEEP_MS, SchedulerActor


async def run(body: Body) -> None:
    """Until the stop."""
    reader = body.store.connection.reader(SWEEP_MS)
    actor = SchedulerActor(
        body.store, reader, body.instance, body.clock, body.health, body.metrics, body.traces
    )
    commands = Commands(body.store, body.metrics)
    mailbox = mailbox_of(body, body.store.connection.keys.control, "control")
    look = partial(
        every, 2 * SWEEP_MS, commands.look, clock=body.clock, health=body.health, what="commands"
    )
    async with living(body) as tasks:
        tasks.start_soon(actor.run)
        tasks.start_soon(
            partial(
                serve, mailbox, commands.handle, commands.give_up,
                clock=body.clock, health=body.health,
            )
        )  # fmt: skip
        tasks.start_soon(look)
