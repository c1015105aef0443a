"""The fallback actor: reads outcome hints, decides, has the decisions carried out."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from actors.fallback.decide import RetryDefaults, outcome_of, verdict_of
from actors.fallback.traced import Decided, record_decisions
from actors.mailbox import Entry
from contracts.errors import OrchError
from orch.core.handover import Undecided, Verdict
from orch.ports import Rng
from orch.store.store import Store
from orch.telemetry.metrics import Metrics
from orch.telemetry.subject import OneJob, handling
from orch.telemetry.traces import Traces

log = structlog.get_logger()


class FallbackActor:
    """Handles entries of `outcomes`."""

    def __init__(
        self,
        store: Store,
        rng: Rng,
        defaults: RetryDefaults,
        metrics: Metrics,
        traces: Traces | None = None,
    ) -> None:
        self._store = store
        self._decisions = metrics.counter("orch_fallback_decisions_total")
        self._outcomes = metrics.counter("orch_fallback_outcomes_total")
        self._rng = rng
        self._defaults = defaults
        self._traces = traces

    async def handle(self, entries: Sequence[Entry]) -> None:
        """Decides about every outcome that is still open."""
        began_ns = 0 if self._traces is None else self._traces.now_ns()
        judged = [await self._judge(entry) for entry in entries]
        carried_out = await self._store.outcomes.decide([verdict for _, verdict in judged])
        decided = list[Decided]()
        for (found, verdict), was_open in zip(judged, carried_out, strict=True):
            if not was_open or found is None:
                continue
            self._decisions.labels(verb=verdict.verb).inc()
            self._outcomes.labels(outcome=outcome_of(found).value).inc()
            if found.carried is not None:
                decided.append((found, verdict))
                with handling(OneJob(found.job_id, found.carried)):
                    log.info("outcome_decided", verb=verdict.verb, attempt=found.attempt)
        if self._traces is not None:
            record_decisions(self._traces, decided, began_ns)

    async def give_up(self, entry: Entry, error: OrchError) -> None:
        """A hint that cannot be read goes; the outcome stays and the reaper announces it again."""
        log.error("outcome_unreadable", entry=entry.entry_id, error=error.message)
        await self._store.outcomes.decide([_nothing(entry)])

    async def _judge(self, entry: Entry) -> tuple[Undecided | None, Verdict]:
        job_id, _, seq = entry.fields.get("j", "").rpartition(":")
        found = await self._store.outcomes.load(job_id, seq, entry.entry_id) if job_id else None
        if found is None:
            return None, _nothing(entry)
        with handling(OneJob(found.job_id, found.carried)):
            return found, verdict_of(found, self._defaults, chance=self._rng.uniform(0, 1))


def _nothing(entry: Entry) -> Verdict:
    """Settles the hint without a job: no seq is empty, so the function finds it stale."""
    return Verdict("-", "", entry.entry_id, "retry", 0, {}, 0, 0)
