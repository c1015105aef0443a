"""What happens by time and by room: due timers, dispatch, taking back what lost its slot, retention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orch.core.scheduling import SchedulingPolicy
from orch.store.connection import Connection


class Due(NamedTuple):
    """What one call did about timers."""

    handled: int
    next_in_ms: int
    """-1: no timer is set."""
    schedules: Sequence[tuple[str, str]]
    """Tenant and id of each schedule whose time has come: for the caller to fire."""


class Timers:
    """The scheduler's and the reaper's regular work."""

    def __init__(self, connection: Connection, policy: SchedulingPolicy) -> None:
        self._connection = connection
        self._policy = policy.text()

    async def due(self, *, most: int) -> Due:
        """Handles due timers but those of schedules, which it hands out (again after FIRE_AGAIN_MS)."""
        reply = await self._connection.call("due", most, self._policy)
        if reply[0] == "none":
            return Due(0, int(reply[1]), ())
        places = [place.split(":") for place in reply[3]]
        handed = [(tenant, one) for tenant, one in places]
        self._connection.ended(reply[4])
        return Due(int(reply[1]), int(reply[2]), handed)

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
