"""The scheduler actor: sleeps until something is due, sweeps the pools now and then."""

from __future__ import annotations

import structlog

from contracts.errors import Unavailable
from contracts.limits import BATCH_ITEMS_MAX
from orch.ports import Clock
from orch.store.connection import BlockingReader
from orch.store.store import Store
from orch.telemetry.health import Health
from orch.telemetry.metrics import Metrics

log = structlog.get_logger()

SWEEP_MS = 5_000
_PAUSE_MS = 250


class SchedulerActor:
    """Timers and sweeps."""

    def __init__(
        self,
        store: Store,
        reader: BlockingReader,
        instance_id: str,
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._handled = metrics.counter("orch_scheduler_timers_total")
        self._reader = reader
        self._instance_id = instance_id
        self._clock = clock
        self._health = health

    async def run(self) -> None:
        """Until it is canceled."""
        while True:
            try:
                await self._sweep()
                wait_ms = await self._timers()
                self._health.cycled("timers")
                await self._sleep_until_alarm(wait_ms)
            except Unavailable as error:
                log.warning("scheduler_waits", error=error.message)
                await self._clock.sleep_ms(_PAUSE_MS)

    async def _timers(self) -> int:
        """Handles everything due; returns how long nothing will be, at most a sweep's period."""
        while True:
            handled, next_in_ms = await self._store.timers.due(most=BATCH_ITEMS_MAX)
            self._handled.inc(handled)
            if handled < BATCH_ITEMS_MAX:
                return SWEEP_MS if next_in_ms < 0 else min(next_in_ms + 1, SWEEP_MS)

    async def _sweep(self) -> None:
        for pool in await self._store.timers.pools():
            await self._store.timers.unready(pool, most=BATCH_ITEMS_MAX)
            await self._store.timers.dispatch(pool, most=BATCH_ITEMS_MAX)

    async def _sleep_until_alarm(self, wait_ms: int) -> None:
        await self._reader.read(
            "XREADGROUP", "GROUP", "scheduler", self._instance_id, "COUNT", 16, "NOACK",
            "BLOCK", max(1, wait_ms), "STREAMS", self._store.connection.keys.alarm, ">",
        )  # fmt: skip
