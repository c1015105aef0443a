"""How does one watcher's stream run, from its first frame to its last? (EVT-2, API-5)

Rest, send what the ledger has, then what the output has, then end or wait: the order in which no
change is missed and no frame comes after the terminal one. Frames are `frames.py`, news is `hub.py`.

The response is our own: sse-starlette replaces uvicorn's signal handler for the whole process, and
starts a task that looks twice a second and outlives every stream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from actors.gateway import frames
from actors.gateway.errors import REQUEST_ID, error_response
from actors.gateway.frames import Cursor, Sent
from actors.gateway.hub import OUTPUT_PAGE, PAGE, Watcher
from actors.gateway.services import Gateway
from contracts import limits
from contracts.errors import OrchError, Refused, Unavailable
from contracts.events import Frame
from contracts.record import JobRecord
from contracts.states import TERMINAL

Write = Callable[[bytes], Awaitable[None]]
MEDIA_TYPE: Final = "text/event-stream"


class JobStream:
    """One reader's way through one job: a cursor, and whether the job was seen to be over."""

    def __init__(
        self,
        gateway: Gateway,
        record: JobRecord,
        *,
        cursor: Cursor | None,
        opening: Sent | None,
        request_id: str,
        ticket: str | None = None,
    ) -> None:
        """`ticket` is the Authorization header it was opened with, good as long as that is."""
        self._gateway = gateway
        self._job_id = record.job_id
        self._cursor = cursor or Cursor()
        self._opening = opening
        self._request_id = request_id
        self._ticket = ticket
        self._over = record.state in TERMINAL

    async def run(self, write: Write) -> None:
        """Write frames until the terminal one was written or the gateway drains."""
        with self._gateway.hub.watch(self._job_id) as watcher:
            try:
                await self._follow(watcher, write)
            except OrchError as error:
                await write(frames.broken(error, self._request_id, self._cursor).wire)

    async def _follow(self, watcher: Watcher, write: Write) -> None:
        if self._opening is not None:
            await write(self._opening.wire)
        while not self._gateway.draining.is_set():
            watcher.rest()
            try:
                await self._check_ticket()
                await self._send_ledger(watcher, write)
                await self._send_output(watcher, write)
                if self._over:
                    record = await self._gateway.services.store.reading.job(self._job_id)
                    await write(frames.terminal(record, self._cursor).wire)
                    return
            except Unavailable:
                await write(frames.PING)
                await self._gateway.services.clock.sleep_ms(limits.TICK_MS)
                continue
            await self._wait(watcher, write)

    async def _send_ledger(self, watcher: Watcher, write: Write) -> None:
        while True:
            events = await watcher.ledger(self._cursor.seq)
            sent, cursor = frames.of_ledger(events, self._cursor)
            await self._write(sent, cursor, write)
            self._over = self._over or any(frames.is_over(event) for event in events)
            if len(events) < PAGE:
                return

    async def _send_output(self, watcher: Watcher, write: Write) -> None:
        while True:
            lines, trimmed = await watcher.output(self._cursor.i)
            sent, cursor = frames.of_output(lines, trimmed, self._cursor)
            await self._write(sent, cursor, write)
            if len(lines) < OUTPUT_PAGE:
                return

    async def _write(self, sent: Sequence[Sent], cursor: Cursor, write: Write) -> None:
        for piece in frames.pieces(sent):
            await write(piece)
        gaps = sum(frame.event is Frame.GAP for frame in sent)
        if gaps:
            self._gateway.figures.told_of_gaps(gaps)
        self._cursor = cursor

    async def _wait(self, watcher: Watcher, write: Write) -> None:
        ping_s = self._gateway.services.timing.ping_ms / 1000
        while True:
            with anyio.move_on_after(ping_s):
                await watcher.changed()
                return
            with suppress(Unavailable):
                await self._check_ticket()
            await write(frames.PING)

    async def _check_ticket(self) -> None:
        """A token may be revoked, or expire, while its stream is open."""
        if self._gateway.register is not None:
            await self._gateway.register.identity_of(self._ticket)


class EventStream(Response):
    """A response that lasts as long as `run`, or until the reader has gone."""

    def __init__(
        self,
        run: Callable[[Write], Awaitable[None]],
        *,
        seat: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`seat` gives it a place for as long as it lasts, or refuses."""
        self._run, self._seat = run, seat
        super().__init__(headers={"X-Accel-Buffering": "no"}, media_type=MEDIA_TYPE)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head at once, then whatever `run` writes; without a seat, the refusal."""
        with ExitStack() as places:
            try:
                places.enter_context(self._seat())
            except Refused as error:
                await error_response(error, scope["state"][REQUEST_ID])(scope, receive, send)
                return
            await self._stream(receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        headers = [header for header in self.raw_headers if header[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def write(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            await self._run(write)
            tasks.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
