"""Outcomes that wait for a decision, and the decisions."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from orch.core.handover import Undecided, Verdict
from orch.core.scheduling import SchedulingPolicy
from orch.core.tracing import split_carried
from orch.store.connection import Connection

_UNDECIDED = (
    "spec", "ending", "undecided", "failures", "crashes", "attempt", "claimed_at", "runner",
)  # fmt: skip


class Outcomes:
    """What fallback reads and writes."""

    def __init__(self, connection: Connection, policy: SchedulingPolicy) -> None:
        self._connection = connection
        self._policy = policy.text()

    async def load(self, job_id: str, seq: str, entry_id: str) -> Undecided | None:
        """The outcome behind a hint; None when it was decided already."""
        found = await self._connection.execute(
            "HMGET", self._connection.keys.job(job_id), *_UNDECIDED
        )
        stored, ending, undecided, failures, crashes, attempt, claimed_at, runner = found
        if undecided != seq or ending is None:
            return None
        spec, carried = split_carried(stored)
        return Undecided(
            job_id, seq, entry_id, spec, ending, int(failures or 0), int(crashes or 0),
            int(attempt or 0), int(claimed_at or 0), runner or "", carried,
        )  # fmt: skip

    async def decide(self, verdicts: Sequence[Verdict]) -> list[bool]:
        """Carries them out; False where the outcome was no longer the one judged."""
        flat: list[str | int] = []
        for one in verdicts:
            payload = orjson.dumps(one.payload).decode()
            flat += (
                one.job_id,
                one.seq,
                one.entry_id,
                one.verb,
                one.delay_ms,
                payload,
                one.failures,
                one.crashes,
            )
        reply = await self._connection.call("decide", self._policy, len(verdicts), *flat)
        return [verdict == "ok" for verdict in reply[1]]

    async def announce(self, *, older_ms: int, again_ms: int, most: int) -> int:
        """Repeats the hints of outcomes nobody decided about; returns how many."""
        reply = await self._connection.call("announce", older_ms, again_ms, most)
        return 0 if reply[0] == "none" else int(reply[1])
