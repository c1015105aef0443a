"""Removes function libraries of versions that nobody runs any more.

Each instance registers the name of its library. What no instance has named for a while, as this reaper saw
it on its own clock, goes; any number of reapers may do it at once. Who needs a removed one again loads it.
"""

from __future__ import annotations

from typing import Final

import structlog

from actors.reaper.decide import Shelf, libraries_used, removable, shelved
from contracts.errors import ErrorCode, Misuse
from contracts.limits import LIBRARY_LOOK_MS_MAX, TICK_MS
from orch.ports import Clock
from orch.store.leases import Leases
from orch.store.libraries import Libraries

log = structlog.get_logger()

_LOOKS: Final = 4
"""Within the time that a library is kept."""


def look_every_ms(keep_ms: int) -> int:
    """Between two looks."""
    return min(max(keep_ms // _LOOKS, TICK_MS), LIBRARY_LOOK_MS_MAX)


class Librarian:
    """Of one reaper's process."""

    def __init__(
        self, libraries: Libraries, leases: Leases, clock: Clock, *, instance_id: str, keep_ms: int
    ) -> None:
        self._libraries = libraries
        self._leases = leases
        self._clock = clock
        self._instance_id = instance_id
        self._keep_ms = keep_ms
        self._shelf = Shelf()
        self._may = True

    async def look(self) -> None:
        """One look at what the server has and who uses it, and removals."""
        if not self._may:
            return
        try:
            await self._look()
        except Misuse as error:
            if error.code is not ErrorCode.FORBIDDEN:
                raise
            # An ACL without FUNCTION LIST or DELETE costs memory and nothing else.
            self._may = False
            log.warning("libraries_kept", error=error.message)

    async def _look(self) -> None:
        # In this order: who registers between the two reads counts as a user.
        stored = await self._libraries.names()
        used = libraries_used(await self._leases.instances(), self._instance_id)
        now_ms = self._clock.monotonic_ms()
        self._shelf = shelved(self._shelf, stored, used, now_ms=now_ms)
        for name in removable(self._shelf, keep_ms=self._keep_ms, now_ms=now_ms):
            if await self._libraries.remove(name):
                unused_ms = now_ms - self._shelf.unused[name]
                log.info("library_removed", library=name, unused_ms=unused_ms)
            self._shelf = self._shelf.without(name)
