"""Health of an actor: the age of each loop's last good cycle, not "process up" (MET-5).

A loop is expected from the moment its process begins: one that never comes round is stuck like one that
stopped. A loop that only runs while there is something to do says so with `rests`, and is not judged then.
"""

from __future__ import annotations

from typing import Final

from orch.ports import Clock
from orch.telemetry.metrics import Metrics

STALE_MS: Final = 30_000
"""Longer than any loop waits for work, and than a restart of the server takes."""
DEAD_MS: Final = 60_000
"""An event loop that has not turned for so long will not turn again."""


class Health:
    """When each of a process's loops last came round."""

    def __init__(
        self, clock: Clock, *, stale_ms: int = STALE_MS, runs_bodies: bool = False
    ) -> None:
        """With `runs_bodies` the event loop may be kept by a body of a job for as long as that takes."""
        self._clock = clock
        self._runs_bodies = runs_bodies
        self._turned_ms = clock.monotonic_ms()
        self._stale_ms = stale_ms
        self._cycles: dict[str, int] = {}
        self._limits_ms: dict[str, int] = {}
        self._unseen: set[str] = set()
        self.draining = False
        """Operators let it end its work and give it no more."""

    def expect(self, what: str, *, stale_ms: int | None = None) -> None:
        """A loop begins, and counts as stuck at that age; the process is not ready before it came round."""
        self._limits_ms[what] = self._stale_ms if stale_ms is None else stale_ms
        self._cycles[what] = self._clock.monotonic_ms()
        self._unseen.add(what)

    def cycled(self, what: str) -> None:
        """A loop came round well."""
        self._cycles[what] = self._clock.monotonic_ms()
        self._unseen.discard(what)

    def rests(self, what: str) -> None:
        """A loop has nothing to do until it is needed again: its age says nothing."""
        self._cycles.pop(what, None)
        self._unseen.discard(what)

    def drains(self, *, draining: bool) -> None:
        """A drain began or was taken back."""
        self.draining = draining

    def ages_ms(self) -> dict[str, int]:
        """Milliseconds since each loop's last good cycle."""
        now = self._clock.monotonic_ms()
        # A copy in one step: the scrape asks from another thread.
        return {what: now - at for what, at in self._cycles.copy().items()}

    def limits_ms(self) -> dict[str, int]:
        """At which age each of these loops counts as stuck."""
        return {what: self._limits_ms.get(what, self._stale_ms) for what in self._cycles.copy()}

    def turned(self) -> None:
        """The event loop turned."""
        self._turned_ms = self._clock.monotonic_ms()

    def alive(self) -> bool:
        """Whether the event loop turns; asks nothing of Redis, whose outage must not restart anybody."""
        return self._runs_bodies or self._clock.monotonic_ms() - self._turned_ms < DEAD_MS

    def stuck(self) -> list[str]:
        """Loops that are too old."""
        limits_ms = self._limits_ms
        return sorted(
            what
            for what, age in self.ages_ms().items()
            if age >= limits_ms.get(what, self._stale_ms)
        )

    def waits_for(self) -> list[str]:
        """Loops that have not come round yet."""
        return sorted(self._unseen.copy())

    def ready(self) -> bool:
        """Whether every loop came round, none is stuck, and it takes work."""
        return not (self.draining or not self._cycles or self._unseen or self.stuck())

    def told_by(self, metrics: Metrics) -> None:
        """Its ages become metrics."""
        metrics.read("orch_ready", lambda: {(): float(self.ready())})
        metrics.read("orch_cycle_age_seconds", lambda: _seconds(self.ages_ms()))
        metrics.read("orch_cycle_stale_seconds", lambda: _seconds(self.limits_ms()))


def _seconds(milliseconds: dict[str, int]) -> dict[tuple[str, ...], float]:
    return {(what,): ms / 1000 for what, ms in milliseconds.items()}
