"""The reaper process: silence, repetition, retention."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from actors.body import Body, living
from actors.instance import every
from actors.reaper.perform import Reaper
from actors.reaper.sweep import Sweeper
from contracts.limits import MINUTE_MS, TICK_MS
from orch.telemetry.health import Health


async def run(body: Body) -> None:
    """Until the stop."""
    s = body.settings
    reaper = Reaper(
        body.store, body.clock, body.metrics, lease_ms=s.lease_ms, retention_ms=s.retention_ms
    )
    sweeper = Sweeper(body.store, body.clock, body.metrics)
    duties: list[tuple[str, int, Callable[[], Awaitable[None]]]] = [
        ("look", TICK_MS, reaper.look),
        ("announce", 2 * TICK_MS, reaper.announce),
        ("finish_burials", 5 * TICK_MS, reaper.finish_burials),
        ("sweep", 5 * TICK_MS, sweeper.sweep_if_due),
        ("retire", MINUTE_MS, reaper.retire),
    ]
    async with living(body) as tasks:
        for what, period_ms, act in duties:
            health = body.health if period_ms < MINUTE_MS else Health(body.clock)
            tasks.start_soon(
                partial(every, period_ms, act, clock=body.clock, health=health, what=what)
            )
