"""The admission actor: reads raw requests, admits them, answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from actors.admission.decide import TRACEPARENT, ask_of, request_id_of
from actors.mailbox import ENTRIES_READ, Entry
from contracts.errors import OrchError, Refused
from contracts.limits import BATCH_ITEMS_MAX, REQUESTS_BACKLOG_MAX
from orch.core.asks import Ask
from orch.store.store import Store
from orch.telemetry.metrics import Metrics
from orch.telemetry.submitting import Submitting, submitting
from orch.telemetry.traces import Traces

log = structlog.get_logger()


class AdmissionActor:
    """Handles entries of `requests`."""

    def __init__(self, store: Store, metrics: Metrics, traces: Traces | None = None) -> None:
        self._store = store
        self._traces = traces
        self._answers = metrics.counter("orch_admission_answers_total")

    async def handle(self, entries: Sequence[Entry]) -> None:
        """Admits what is valid in one call and answers everything else. A full read says that more wait:
        the youngest beyond the bound of the stream are refused first."""
        if len(entries) >= ENTRIES_READ:
            await self._turn_away()
        asks: list[Ask] = []
        going: list[Submitting | None] = []
        for entry in entries:
            try:
                incarnation = self._store.connection.watermark.incarnation
                ask = ask_of(entry.entry_id, entry.fields, incarnation=incarnation)
            except Refused as refused:
                await self._refuse(entry.entry_id, request_id_of(entry.fields), refused)
                continue
            going.append(self._submitting(entry))
            asks.append(ask if going[-1] is None else replace(ask, carried=going[-1].carried()))
        if not asks:
            return
        answers = await self._store.admission.admit(asks)
        for one, answer in zip(going, answers, strict=True):
            if one is not None:
                with one:
                    one.told([answer])
        accepted = sum(not isinstance(answer, Refused) for answer in answers)
        self._answers.labels(result="accepted").inc(accepted)
        for ask, answer in zip(asks, answers, strict=True):
            if isinstance(answer, Refused):
                await self._refuse(ask.entry_id, ask.request_id, answer)

    def _submitting(self, entry: Entry) -> Submitting | None:
        # The time at which the server took the entry stands in its id.
        sent_ms = int(entry.entry_id.partition("-")[0])
        return submitting(
            self._traces,
            traceparent=entry.fields.get(TRACEPARENT),
            correlation_id=request_id_of(entry.fields),
            began_ns=sent_ms * 1_000_000,
        )

    async def _turn_away(self) -> None:
        refused = BATCH_ITEMS_MAX
        while refused == BATCH_ITEMS_MAX:
            refused = await self._store.admission.overflow(most=BATCH_ITEMS_MAX)
            self._answers.labels(result="backlog").inc(refused)
            if refused:
                log.warning(
                    "requests_over_their_bound", refused=refused, bound=REQUESTS_BACKLOG_MAX
                )

    async def give_up(self, entry: Entry, error: OrchError) -> None:
        """A request that cannot be handled is refused, never retried for ever."""
        refused = Refused(error.code, error.message, details=error.details)
        await self._refuse(entry.entry_id, request_id_of(entry.fields), refused)

    async def _refuse(self, entry_id: str, request_id: str, refused: Refused) -> None:
        self._answers.labels(result="refused").inc()
        await self._store.admission.refuse(entry_id, request_id, refused)
