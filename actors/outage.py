"""Waiting for Redis: a growing pause, and two log lines for an outage however long it is."""

from __future__ import annotations

import structlog

from contracts.errors import Unavailable
from orch.ports import Clock

log = structlog.get_logger()

PAUSE_MS_FIRST = 50
PAUSE_MS_MAX = 1_000


class Outage:
    """One loop's view of it."""

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._began_ms: int | None = None
        self._pause_ms = PAUSE_MS_FIRST

    async def wait(self, error: Unavailable) -> None:
        """A call failed: pauses before the next try."""
        if self._began_ms is None:
            self._began_ms = self._clock.monotonic_ms()
            log.warning("redis_away", what=self._what, error=error.message)
        await self._clock.sleep_ms(self._pause_ms)
        self._pause_ms = min(2 * self._pause_ms, PAUSE_MS_MAX)

    def over(self) -> None:
        """A call went well."""
        if self._began_ms is not None:
            log.info(
                "redis_back", what=self._what, away_ms=self._clock.monotonic_ms() - self._began_ms
            )
            self._began_ms = None
            self._pause_ms = PAUSE_MS_FIRST
