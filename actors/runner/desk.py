"""Where a running attempt puts what must outlive it; the adapters' Desk, fenced by the claim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import orjson

from actors.outage import Outage
from actors.runner.attempt import Attempt
from actors.runner.bench import Bench
from actors.runner.emitter import Sheet
from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.events import EventType
from contracts.limits import EVENT_BYTES_MAX
from orch.adapters.protocol import Stream


class RunnerDesk:
    """One attempt's desk."""

    __slots__ = ("_attempt", "_bench", "_number", "_one_note")

    def __init__(self, attempt: Attempt, bench: Bench) -> None:
        self._attempt = attempt
        self._bench = bench
        self._number = 0
        self._one_note: anyio.Lock | None = None

    def pause_wished(self) -> bool:
        """Whether an operator wants this job to stop at the next step, or its runner drains or leaves."""
        return self._is_told_to_stop() or self._attempt.leave_is_wished

    async def pause_wish(self) -> None:
        """Returns once an operator wants this job to stop, or the time of a drain is over."""
        if not self._is_told_to_stop():
            self._attempt.pause_wish = self._attempt.pause_wish or anyio.Event()
            await self._attempt.pause_wish.wait()

    def _is_told_to_stop(self) -> bool:
        return self._attempt.pause_is_wished or self._attempt.drain_is_wished

    async def output(self, stream: Stream, text: str) -> None:
        """Appends output in order; waits when the store is slow."""
        sheet = self._attempt.sheet or self._open_sheet()
        if sheet.closed:
            raise Refused(ErrorCode.LEASE_OVER, f"the claim on job {sheet.job_id} is over")
        await self._bench.emitter.put(sheet, stream, text)

    def _open_sheet(self) -> Sheet:
        attempt, offer = self._attempt, self._attempt.offer
        attempt.sheet = Sheet(offer.job_id, offer.claim, offer.outs + 1, attempt.refused)
        self._bench.emitter.open(attempt.sheet)
        return attempt.sheet

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
        self._one_note = self._one_note or anyio.Lock()
        async with self._one_note:
            self._number += 1
            write = partial(
                self._bench.claims.note,
                self._attempt.offer.job_id,
                self._attempt.offer.claim,
                number=self._number,
                event=EventType(event).value,
                payload=payload,
                progress=progress,
                consume_answer=consume_answer,
            )
            wish = await self._until_written(write)
            self._attempt.notes = self._number
            if progress is not None:
                self._attempt.progress = orjson.dumps(progress).decode()
            self._attempt.wish_pause(wish == "pause")
            if event == EventType.USAGE_REPORTED:
                self._bench.figures.used(payload, self._attempt.usage)
                self._attempt.usage = payload

    async def _until_written(self, write: Callable[[], Awaitable[str]]) -> str:
        outage = Outage("note", self._bench.clock)
        while True:
            try:
                return await write()
            except Unavailable as error:
                await outage.wait(error)

    async def artifact(self, name: str, path: Path, *, step_id: str | None = None) -> str:
        """Stores a file by content and records it."""
        ref = await self._bench.blobs.put_file(path)
        payload = {
            "name": name[: EVENT_BYTES_MAX // 5],
            "sha256": ref.sha256,
            "bytes": ref.bytes,
            "step_id": step_id,
        }
        await self.note(EventType.ARTIFACT_RECORDED, payload)
        return ref.sha256
