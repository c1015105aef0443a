"""The scheduler actor: sleeps until something is due, sweeps the pools now and then."""

from __future__ import annotations

from actors.instance import register
from actors.outage import Outage
from actors.scheduler.schedules import Firings
from contracts.errors import Unavailable
from contracts.limits import BATCH_ITEMS_MAX
from orch.ports import Clock
from orch.store.connection import BlockingReader
from orch.store.leases import Instance
from orch.store.store import Store
from orch.telemetry.health import Health
from orch.telemetry.metrics import Metrics
from orch.telemetry.traces import Traces

SWEEP_MS = 5_000


class SchedulerActor:
    """Timers and sweeps."""

    def __init__(
        self,
        store: Store,
        reader: BlockingReader,
        instance: Instance,
        clock: Clock,
        health: Health,
        metrics: Metrics,
        traces: Traces | None = None,
    ) -> None:
        self._store = store
        self._handled = metrics.counter("orch_scheduler_timers_total")
        self._firings = Firings(store.schedules, metrics, traces)
        self._reader = reader
        self._instance = instance
        self._sweep_at_ms = 0
        self._clock = clock
        self._health = health

    async def run(self) -> None:
        """Until it is canceled."""
        outage = Outage("scheduler", self._clock)
        self._health.expect("timers")
        while True:
            try:
                await self._sweep_now_and_then()
                wait_ms = await self._timers()
                self._health.cycled("timers")
                await self._sleep_until_alarm(wait_ms)
                outage.over()
            except Unavailable as error:
                await outage.wait(error)
                if "NOGROUP" in error.message:
                    await register(self._store.leases, self._instance, self._clock)

    async def _timers(self) -> int:
        """Handles everything due; returns how long nothing will be, at most a sweep's period."""
        while True:
            due = await self._store.timers.due(most=BATCH_ITEMS_MAX)
            self._handled.inc(due.handled)
            if due.schedules:
                await self._firings.carry_out(due.schedules)
            elif due.handled < BATCH_ITEMS_MAX:
                return SWEEP_MS if due.next_in_ms < 0 else min(due.next_in_ms + 1, SWEEP_MS)

    async def _sweep_now_and_then(self) -> None:
        """The functions that free slots dispatch themselves; this is for what fell between them."""
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._sweep_at_ms:
            return
        self._sweep_at_ms = now_ms + SWEEP_MS
        for pool in await self._store.timers.pools():
            await self._store.timers.unready(pool, most=BATCH_ITEMS_MAX)
            await self._store.timers.dispatch(pool, most=BATCH_ITEMS_MAX)

    async def _sleep_until_alarm(self, wait_ms: int) -> None:
        await self._reader.read(
            "XREADGROUP", "GROUP", "scheduler", self._instance.instance_id, "COUNT", 16, "NOACK",
            "BLOCK", max(1, wait_ms), "STREAMS", self._store.connection.keys.alarm, ">",
        )  # fmt: skip
