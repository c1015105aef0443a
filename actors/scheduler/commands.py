"""Operators' commands: the entries of the control stream, applied in order and carried to their end."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from actors.mailbox import Entry
from contracts.errors import Corrupt, ErrorCode, OrchError, Unavailable
from contracts.limits import BATCH_ITEMS_MAX, DELIVERIES_MAX
from contracts.metrics import COMMAND_NAMES
from orch.store.control import Fields
from orch.store.store import Store
from orch.telemetry.metrics import Metrics

log = structlog.get_logger()

_TOGETHER = 100


class Commands:
    """What any scheduler does with them; any number may."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._settled = metrics.counter("orch_control_commands_total")

    async def handle(self, _entries: Sequence[Entry]) -> None:
        """Something came: settles all that waits. What this reader was given says only that there is work,
        for the stream's first entry is the next, whoever was given it."""
        is_loose = False
        while True:
            is_loose = await self._settle_all() > 0 or is_loose
            # A long cancel goes on between commands: a drain does not wait for its end.
            more = bool(await self._store.control.proceed())
            if is_loose or more:
                await self._dispatch()
            if not more:
                return
            # Its last piece lets go of something too.
            is_loose = True

    async def give_up(self, entry: Entry, error: OrchError) -> None:
        """Never asked: an entry that cannot be handled is refused in `handle`."""
        log.error("command_left", entry=entry.entry_id, error=error.message)

    async def look(self) -> None:
        """Now and then: what a scheduler that died has left."""
        await self.handle([])

    async def _settle_all(self) -> int:
        """How many commands were applied, here or by another meanwhile."""
        count = 0
        while True:
            waiting = await self._store.control.waiting(most=_TOGETHER)
            for entry_id, fields in waiting:
                standing = await self._settle(entry_id, fields)
                if standing is None:
                    break
                count += 1
            if not waiting:
                return count

    async def _settle(self, entry_id: str, fields: Fields) -> str | None:
        standing = await self._carry_out(entry_id, fields)
        if standing not in {None, "settled"}:
            given = fields.get("command", "")
            name = given if given in COMMAND_NAMES else "other"
            result = "refused" if standing == "refused" else "applied"
            self._settled.labels(command=name, result=result).inc()
            log.info("command", entry=entry_id, command=name, standing=standing)
        return standing

    async def _carry_out(self, entry_id: str, fields: Fields) -> str | None:
        error: OrchError | None = None
        for _ in range(DELIVERIES_MAX):
            try:
                return await self._store.control.apply(entry_id, fields)
            except Unavailable:
                raise
            except Exception as thrown:  # noqa: BLE001 - the boundary: no entry may end its actor
                error = _as_ours(thrown)
        assert error is not None
        log.warning("command_failed", entry=entry_id, error=error.message)
        return await self._store.control.refuse(entry_id, fields, error)

    async def _dispatch(self) -> None:
        """What was let go may be given out now, and what was closed is taken back."""
        for pool in await self._store.timers.pools():
            await self._store.timers.unready(pool, most=BATCH_ITEMS_MAX)
            await self._store.timers.dispatch(pool, most=BATCH_ITEMS_MAX)


def _as_ours(thrown: Exception) -> OrchError:
    if isinstance(thrown, OrchError):
        return thrown
    return Corrupt(ErrorCode.INTERNAL, f"the command cannot be handled: {thrown!r}"[:500])
