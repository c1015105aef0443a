"""Where a running attempt puts what must outlive it; the adapters' Desk, fenced by the claim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import orjson

from actors.outage import Outage
from actors.runner.emitter import Emitter, Sheet
from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.events import EventType
from contracts.limits import EVENT_BYTES_MAX
from orch.adapters.protocol import Stream
from orch.blobs import Blobs
from orch.core.handover import Offer
from orch.ports import Clock
from orch.store.claims import Claims


class RunnerDesk:
    """One attempt's desk."""

    def __init__(
        self,
        offer: Offer,
        sheet: Sheet,
        emitter: Emitter,
        claims: Claims,
        blobs: Blobs,
        clock: Clock,
    ) -> None:
        self._offer = offer
        self._sheet = sheet
        self._emitter = emitter
        self._claims = claims
        self._blobs = blobs
        self._clock = clock
        self._number = 0
        self.notes = 0
        """The number of the last note that the store acknowledged."""
        self.progress = ""
        """The durable progress of the last of them that carried any, JSON."""
        self._one_note = anyio.Lock()
        self.pause_is_wished = offer.wish == "pause"

    def pause_wished(self) -> bool:
        """Whether an operator wants this job to stop at its next step."""
        return self.pause_is_wished

    async def output(self, stream: Stream, text: str) -> None:
        """Appends output in order; waits when the store is slow."""
        if self._sheet.closed:
            raise Refused(ErrorCode.LEASE_OVER, f"the claim on job {self._offer.job_id} is over")
        await self._emitter.put(self._sheet, stream, text)

    async def note(
        self,
        event: str,
        payload: Mapping[str, Any],
        *,
        progress: Mapping[str, Any] | None = None,
        consume_answer: bool = False,
    ) -> None:
        """One ledger event; waits as long as Redis is away, the guards watch the lease meanwhile."""
        # Numbered, so that a note repeated after a lost reply is written once; one at a time, so that
        # the numbers arrive in order. A note given up half way has used its number: it may be written.
        async with self._one_note:
            self._number += 1
            write = partial(
                self._claims.note,
                self._offer.job_id,
                self._offer.claim,
                number=self._number,
                event=EventType(event).value,
                payload=payload,
                progress=progress,
                consume_answer=consume_answer,
            )
            wish = await self._until_written(write)
            self.notes = self._number
            if progress is not None:
                self.progress = orjson.dumps(progress).decode()
            self.pause_is_wished = wish == "pause"

    async def _until_written(self, write: Callable[[], Awaitable[str]]) -> str:
        outage = Outage("note", self._clock)
        while True:
            try:
                return await write()
            except Unavailable as error:
                await outage.wait(error)

    async def artifact(self, name: str, path: Path, *, step_id: str | None = None) -> str:
        """Stores a file by content and records it."""
        ref = await self._blobs.put_file(path)
        payload = {
            "name": name[: EVENT_BYTES_MAX // 5],
            "sha256": ref.sha256,
            "bytes": ref.bytes,
            "step_id": step_id,
        }
        await self.note(EventType.ARTIFACT_RECORDED, payload)
        return ref.sha256
