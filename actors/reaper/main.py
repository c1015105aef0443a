"""The reaper process: silence, repetition, retention."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from actors.body import Body, living
from actors.instance import every
from actors.reaper.census import LOOK_MS, Exporter
from actors.reaper.libraries import Librarian, look_every_ms
from actors.reaper.perform import Reaper
from actors.reaper.samples import Samples
from actors.reaper.sweep import Sweeper
from contracts.limits import HOUR_MS, MINUTE_MS, TICK_MS

SLOW_MS: Final = {"sweep": HOUR_MS}
"""A sweep of ten million keys takes twenty minutes, and others do their work meanwhile."""


async def run(body: Body) -> None:
    """Until the stop."""
    s = body.settings
    reaper = Reaper(
        body.store, body.clock, body.metrics, lease_ms=s.lease_ms, retention_ms=s.retention_ms
    )
    sweeper = Sweeper(body.store, body.clock, body.metrics)
    exporter = Exporter(
        body.store, body.clock, body.metrics, Samples(body.store, body.metrics), sweeper,
        instance_id=body.instance.instance_id,
    )  # fmt: skip
    duties: list[tuple[str, int | Callable[[], int], Callable[[], Awaitable[None]]]] = [
        ("look", reaper.look_again_ms, reaper.look),
        ("announce", 2 * TICK_MS, reaper.announce),
        ("finish_burials", 5 * TICK_MS, reaper.finish_burials),
        ("sweep", 5 * TICK_MS, sweeper.sweep_if_due),
        ("retire", MINUTE_MS, reaper.retire),
        ("census", LOOK_MS, exporter.look),
    ]
    if body.libraries is not None:
        librarian = Librarian(
            body.libraries, body.store.leases, body.clock,
            instance_id=body.instance.instance_id, keep_ms=s.library_keep_ms,
        )  # fmt: skip
        duties.append(("libraries", look_every_ms(s.library_keep_ms), librarian.look))
    async with living(body) as tasks:
        for what, period_ms, act in duties:
            tasks.start_soon(
                partial(
                    every,
                    period_ms,
                    act,
                    clock=body.clock,
                    health=body.health,
                    what=what,
                    stale_ms=SLOW_MS.get(what),
                )
            )
