"""Schedules whose time has come: read, decided about, and carried out one time each.

What is due after that (a run to be made up for) is handed out again by the next call, so that no schedule
holds up the timers of others. A schedule that cannot be read costs nobody else anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from contracts.errors import Refused
from contracts.schedules import Fate
from orch.core.firing import firing_of
from orch.store.schedules import Schedules
from orch.telemetry.metrics import Metrics
from orch.telemetry.submitting import submitting
from orch.telemetry.traces import Traces

log = structlog.get_logger()


class Firings:
    """What a scheduler does about schedules."""

    def __init__(
        self, schedules: Schedules, metrics: Metrics, traces: Traces | None = None
    ) -> None:
        self._schedules = schedules
        self._traces = traces
        self._fires = metrics.counter("orch_scheduler_fires_total")

    async def carry_out(self, due: Iterable[tuple[str, str]]) -> None:
        """One time of each; tenant and id.

        Raises:
            Unavailable: the server was not reached; what is left is handed out again.
        """
        for tenant, schedule_id in due:
            result = await self._one(tenant, schedule_id)
            if result is not None:
                self._fires.labels(result=result).inc()

    async def _one(self, tenant: str, schedule_id: str) -> str | None:
        try:
            table = await self._schedules.due(tenant, schedule_id)
            if table is None or table.next_ms is None:
                return None
            firing = firing_of(table.spec, expected_ms=table.next_ms, now_ms=table.read_at_ms)
        except Refused as refused:  # stored by another version, or its zone is not known here
            log.warning(
                "schedule cannot be read",
                schedule_id=schedule_id,
                tenant=tenant,
                why=refused.message,
            )
            return "broken"
        if firing is None:
            return None
        going = None
        if self._traces is not None and firing.makes_job:
            going = submitting(self._traces, traceparent=None)
        carried = None if going is None else going.carried()
        fired = await self._schedules.fire(table, firing, carried)
        if going is not None and fired is not None and fired.result is Fate.FIRED:
            going.made(fired.job_id or "")
        return "moved" if fired is None else fired.result.value
