"""How long were jobs in the states that they left? Looked up for a few of those that moved.

A job's ledger has the answer, and nothing else has: to tell it of every job would cost a command a job. So
the reaper that tells of the cluster reads the ledgers of some that the feed named since its last look, each
as likely as another. The shape of the distribution is true, its count is not that of all jobs.
"""

from __future__ import annotations

from typing import Final

from actors.reaper.decide import spread, stays
from contracts.errors import Refused
from contracts.metrics import LIVE_STATES
from orch.store.store import Store
from orch.telemetry.metrics import Metrics

JOBS_MAX: Final = 16
"""Ledgers read at one look."""
ENTRIES_MAX: Final = 64
"""Their newest entries."""


class Samples:
    """Of one reaper's process."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        seconds = metrics.histogram("orch_cluster_state_seconds")
        self._seconds = {state: seconds.labels(state=state) for state in LIVE_STATES}
        self._position = ""
        self._calls = -1

    async def take(self, calls: int) -> None:
        """Some of the jobs that moved since the last time; `calls` is how many the shard has carried out."""
        if calls == self._calls:
            return
        since_ms = int(self._position.partition("-")[0] or 0)
        self._position, moved = await self._store.census.moved(self._position)
        self._calls = calls
        for job_id, seq in spread(list(moved.items()), most=JOBS_MAX):
            try:
                after = max(0, seq - ENTRIES_MAX)
                events = await self._store.reading.ledger(job_id, after=after, limit=ENTRIES_MAX)
            except Refused:
                continue  # its retention is over
            for state, stay_ms in stays(events, since_ms=since_ms):
                self._seconds[state.value].observe(stay_ms / 1000)
