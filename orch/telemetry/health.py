"""Health of an actor: the age of its last good cycle, not "process up" (MET-5)."""

from __future__ import annotations

from orch.ports import Clock


class Health:
    """When each of a process's loops last came round."""

    def __init__(self, clock: Clock, *, stale_ms: int = 30_000) -> None:
        self._clock = clock
        self._stale_ms = stale_ms
        self._cycles: dict[str, int] = {}
        self.draining = False
        """Operators let it end its work and give it no more."""

    def cycled(self, what: str) -> None:
        """A loop came round well."""
        self._cycles[what] = self._clock.monotonic_ms()

    def drains(self, *, draining: bool) -> None:
        """A drain began or was taken back."""
        self.draining = draining

    def ages_ms(self) -> dict[str, int]:
        """Milliseconds since each loop's last good cycle."""
        now = self._clock.monotonic_ms()
        return {what: now - at for what, at in self._cycles.items()}

    def ready(self) -> bool:
        """Whether at least one loop came round, none is stale, and it takes work."""
        ages = self.ages_ms()
        return not self.draining and bool(ages) and max(ages.values()) < self._stale_ms
