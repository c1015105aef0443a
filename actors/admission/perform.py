"""The admission actor: reads raw requests, admits them, answers."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from actors.admission.decide import ask_of, request_id_of
from actors.mailbox import ENTRIES_READ, Entry
from contracts.errors import OrchError, Refused
from contracts.limits import BATCH_ITEMS_MAX, REQUESTS_BACKLOG_MAX
from orch.core.asks import Ask
from orch.store.store import Store
from orch.telemetry.metrics import Metrics

log = structlog.get_logger()


class AdmissionActor:
    """Handles entries of `requests`."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._answers = metrics.counter("orch_admission_answers_total")

    async def handle(self, entries: Sequence[Entry]) -> None:
        """Admits what is valid in one call and answers everything else. A full read says that more wait:
        the youngest beyond the bound of the stream are refused first."""
        if len(entries) >= ENTRIES_READ:
            await self._turn_away()
        asks: list[Ask] = []
        for entry in entries:
            try:
                incarnation = self._store.connection.watermark.incarnation
                asks.append(ask_of(entry.entry_id, entry.fields, incarnation=incarnation))
            except Refused as refused:
                await self._refuse(entry.entry_id, request_id_of(entry.fields), refused)
        if not asks:
            return
        answers = await self._store.admission.admit(asks)
        accepted = sum(not isinstance(answer, Refused) for answer in answers)
        self._answers.labels(result="accepted").inc(accepted)
        for ask, answer in zip(asks, answers, strict=True):
            if isinstance(answer, Refused):
                await self._refuse(ask.entry_id, ask.request_id, answer)

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
