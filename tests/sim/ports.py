"""Time, ids and chance of a simulated process, all drawn from the seed."""

from __future__ import annotations

import asyncio
from random import Random

from orch.core.derived import base32
from orch.system import SystemClock, SystemIds, SystemRng
from tests.sim.loop import SimLoop
from tests.sim.server import EPOCH_MS


def _wake(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.set_result(None)


class Host:
    """A machine: the processes on it share its clocks."""

    def __init__(self, name: str, loop: SimLoop) -> None:
        self.name = name
        self.loop = loop
        self.rate = 1.0
        """How fast its monotonic clock runs."""
        self.wall_offset_ms = 0

    def monotonic_ms(self) -> int:
        """CLOCK_MONOTONIC."""
        return int(self.loop.now * 1000 * self.rate)

    def real_s(self, monotonic_ms: float) -> float:
        """When that reading will be."""
        return (monotonic_ms + 1) / 1000 / self.rate


class SimClock(SystemClock):
    """The Clock port on a host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def monotonic_ms(self) -> int:
        host = self.host
        return int(host.loop.now * 1000 * host.rate)

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self.host.loop.now * 1000) + self.host.wall_offset_ms

    async def sleep_ms(self, duration_ms: float) -> None:
        loop, delay_s = self.host.loop, duration_ms / 1000 / self.host.rate
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        # As asyncio.sleep, which is asked for its loop and is one more coroutine at every step.
        future = loop.create_future()
        timer = loop.call_later(delay_s, _wake, future)
        try:
            await future
        finally:
            timer.cancel()


class SimIds(SystemIds):
    """Ids of one process."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def job_id(self) -> str:
        return base32(self._random.getrandbits(45), 9) + base32(self._random.getrandbits(55), 11)

    def token(self) -> str:
        return base32(self._random.getrandbits(50), 10)


class SimRng(SystemRng):
    """Chance of one process."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)
