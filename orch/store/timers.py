"""What happens by time and by room: due timers, dispatch, taking back what lost its slot, retention."""

from __future__ import annotations

from collections.abc import Sequence

from orch.core.scheduling import SchedulingPolicy
from orch.store.connection import Connection


class Timers:
    """The scheduler's and the reaper's regular work."""

    def __init__(self, connection: Connection, policy: SchedulingPolicy) -> None:
        self._connection = connection
        self._policy = policy.text()

    async def due(self, *, most: int) -> tuple[int, int]:
        """Handles due timers; returns how many, and milliseconds to the next (-1: none)."""
        reply = await self._connection.call("due", most, self._policy)
        return (0, int(reply[1])) if reply[0] == "none" else (int(reply[1]), int(reply[2]))

    async def dispatch(self, pool: str, *, most: int) -> int:
        """Gives free slots to waiting jobs; returns how many."""
        reply = await self._connection.call("dispatch", pool, most, self._policy, "scheduler")
        return int(reply[1])

    async def unready(self, pool: str, *, most: int) -> int:
        """Takes back dispatched jobs whose slot is gone; returns how many."""
        reply = await self._connection.call("unready", pool, most)
        return 0 if reply[0] == "none" else int(reply[1])

    async def retire(self, *, retention_ms: int, most: int, hours: int) -> int:
        """Removes finished jobs past their retention; returns how many."""
        reply = await self._connection.call("retire", retention_ms, most, hours)
        return int(reply[1])

    async def declare(self, pools: Sequence[str]) -> None:
        """Makes pools exist that no runner serves yet."""
        await self._connection.call("declare", *pools)

    async def pools(self) -> list[str]:
        """All pools, in order of their names."""
        return sorted(await self._connection.execute("SMEMBERS", self._connection.keys.pools))
