"""The reaper actor: looks at the beats, buries the silent, repeats hints, removes what is over."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from actors.reaper.decide import Observation, absent, look_again_ms, observe, silent
from contracts.limits import BATCH_ITEMS_MAX, UNDECIDED_REANNOUNCE_MS
from orch.ports import Clock
from orch.store.store import Store
from orch.telemetry.metrics import Metrics

log = structlog.get_logger()

ANNOUNCE_AGAIN_MS = 30_000
RETENTION_HOURS = 24
"""Hours' sets looked at in one call; the marker in Redis walks on with the next."""


class Reaper:
    """Bounded work each time; any number of reapers may do it at once."""

    def __init__(
        self, store: Store, clock: Clock, metrics: Metrics, *, lease_ms: int, retention_ms: int
    ) -> None:
        self._store = store
        self._retired = metrics.counter("orch_reaper_retired_total")
        self._announced = metrics.counter("orch_reaper_announced_total")
        self._clock = clock
        self._lease_ms = lease_ms
        self._retention_ms = retention_ms
        self._observation = Observation()
        self._leases_ms: dict[str, int] = {}
        self._absent: Mapping[str, int] = {}

    def look_again_ms(self) -> int:
        """How long until the next look."""
        return look_again_ms(self._observation)

    async def look(self) -> None:
        """One look at the beats, and burials."""
        beats = await self._store.leases.beats()
        now_ms = self._clock.monotonic_ms()
        await self._learn_leases(beats)
        self._observation = observe(self._observation, beats, self._leases_ms, now_ms=now_ms)
        for instance_id, watched in silent(self._observation):
            await self._bury(instance_id, watched.counter, watched.silent_ms)

    async def _learn_leases(self, beats: Mapping[str, int]) -> None:
        """An instance is judged by the lease it registered with, whatever this process's settings say."""
        if not beats.keys() <= self._leases_ms.keys():
            abouts = await self._store.leases.instances()
            own = self._lease_ms
            self._leases_ms = {i: int(abouts.get(i, {}).get("lease_ms", own)) for i in beats}

    async def _bury(self, instance_id: str, counter: int, silent_ms: int) -> None:
        while True:
            burial = await self._store.leases.bury(
                instance_id, counter, age_ms=silent_ms, most=BATCH_ITEMS_MAX
            )
            if burial.done:
                log.warning("buried", instance=instance_id, silent_ms=silent_ms, freed=burial.freed)
            if not burial.left:
                return

    async def announce(self) -> None:
        """Repeats hints for outcomes that nobody decided about."""
        again = await self._store.outcomes.announce(
            older_ms=UNDECIDED_REANNOUNCE_MS, again_ms=ANNOUNCE_AGAIN_MS, most=BATCH_ITEMS_MAX
        )
        self._announced.inc(again)
        if again:
            log.info("announced_again", outcomes=again)

    async def finish_burials(self) -> None:
        """Instances that were buried but not emptied, because their reaper died in between; and readers
        that were given entries when they had been buried already."""
        beats = await self._store.leases.beats()
        known = await self._store.leases.instances()
        now_ms = self._clock.monotonic_ms()
        self._absent = absent(self._absent, known.keys() - beats.keys(), now_ms=now_ms)
        for instance_id, since_ms in sorted(self._absent.items()):
            silent_ms = now_ms - since_ms
            if silent_ms >= int(known[instance_id].get("lease_ms", self._lease_ms)):
                await self._bury(instance_id, 0, silent_ms)
        for instance_id in await self._store.leases.strays():
            await self._bury(instance_id, 0, 0)

    async def retire(self) -> None:
        """Removes finished jobs past their retention."""
        while True:
            removed = await self._store.timers.retire(
                retention_ms=self._retention_ms, most=BATCH_ITEMS_MAX, hours=RETENTION_HOURS
            )
            self._retired.inc(removed)
            if removed < BATCH_ITEMS_MAX:
                return
