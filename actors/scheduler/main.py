"""The scheduler process: timers and sweeps."""

from __future__ import annotations

from actors.body import Body, living
from actors.scheduler.perform import SWEEP_MS, SchedulerActor


async def run(body: Body) -> None:
    """Until the stop."""
    reader = body.store.connection.reader(SWEEP_MS)
    actor = SchedulerActor(body.store, reader, body.instance, body.clock, body.health, body.metrics)
    async with living(body) as tasks:
        tasks.start_soon(actor.run)
