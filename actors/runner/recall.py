"""A server that came back, maybe with earlier data: what it is told, and what it is asked."""

from __future__ import annotations

import structlog

from actors.runner.decide import handed_back
from actors.runner.held import Held
from actors.runner.tools import Tools
from contracts.errors import Unavailable
from contracts.limits import MINUTE_MS

log = structlog.get_logger()


class Recall:
    """One life's side of it."""

    def __init__(self, tools: Tools, instance_id: str, held: Held) -> None:
        self._tools = tools
        self._instance_id = instance_id
        self._held = held
        self._restarts = tools.store.connection.watermark.restarts
        self._reconcile_at_ms = 0
        self._missing: set[str] = set()
        """Claims that the server gave us and we did not know of when we looked last."""

    async def reclaim(self) -> None:
        """It hears what we work on, and again how the claims ended whose ends it forgot.

        Raises:
            Refused: LEASE_OVER, the runner was buried.
            Unavailable: not reached; call again.
        """
        held = self._held
        working = [attempt.working() for attempt in held.attempts.values()] + held.recent.working()
        verdicts = await self._tools.store.claims.reclaim(
            self._instance_id, self._tools.terms.pool, working
        )
        in_force = {one.claim for one, holds in zip(working, verdicts, strict=True) if holds}
        for claim, attempt in held.attempts.items():
            if claim not in in_force:
                attempt.refused()
        waiting = {ending.claim for ending in held.endings}
        ended = [one.claim for one in working if one.claim in in_force - waiting]
        again = held.recent.endings(ended)
        held.endings += again
        if again:
            log.warning("endings_told_again", jobs=len(again))

    async def reconcile(self) -> None:
        """After every restart of the server, and now and then: it may have come back with an earlier state,
        in which we hold jobs whose ends it had acknowledged. Only we could give them back while we live."""
        held = self._held
        restarts = self._tools.store.connection.watermark.restarts
        now_ms = self._tools.clock.monotonic_ms()
        if restarts == self._restarts and now_ms < self._reconcile_at_ms:
            return
        try:
            claims = await self._tools.store.claims.held(self._instance_id)
        except Unavailable:
            return
        known = {*held.attempts, *(ending.claim for ending in held.endings)}
        unknown = {job_id: claim for job_id, claim in claims.items() if claim not in known}
        # What was handed to us after our last call may be on its way; the next call tells of it.
        lost = {job_id: claim for job_id, claim in unknown.items() if claim in self._missing}
        self._missing = set(unknown.values()) - set(lost.values())
        held.endings += [handed_back(job_id, claim) for job_id, claim in lost.items()]
        if lost:
            log.warning("endings_lost_by_server", jobs=len(lost))
        self._restarts = restarts
        self._reconcile_at_ms = now_ms + (0 if self._missing else MINUTE_MS)
