"""Output of all jobs of a runner, in few calls: what piles up during one call goes with the next."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from actors.outage import Outage
from contracts.errors import Unavailable
from contracts.limits import BATCH_ITEMS_MAX, LOG_ENTRY_BYTES_MAX
from orch.adapters.protocol import Stream
from orch.core.handover import Pieces
from orch.ports import Clock
from orch.store.output import Output

BUFFER_PIECES_MAX = 256
"""Above this an adapter waits: backpressure reaches the agent through its pipe."""
TOKEN_CHARS_MAX = LOG_ENTRY_BYTES_MAX // 4
"""Of joined tokens; at four bytes a character still one log entry."""


class Sheet:
    """The output of one attempt on its way to the store."""

    def __init__(self, job_id: str, claim: str, first: int, over: Callable[[], None]) -> None:
        self.job_id = job_id
        self.claim = claim
        self.over = over
        self._next = first
        self._pieces: list[tuple[Stream, str]] = []
        self.closed = False

    def add(self, stream: Stream, text: str) -> bool:
        """One piece at the end; whether it took a place. Tokens that wait anyway wait together: a model is
        faster than a disk, and the tail is counted in pieces."""
        if stream == "token" and self._pieces and self._pieces[-1][0] == "token":
            joined = self._pieces[-1][1] + text
            if len(joined) <= TOKEN_CHARS_MAX:
                self._pieces[-1] = stream, joined
                return False
        self._pieces.append((stream, text))
        return True

    def take(self, most: int) -> Pieces | None:
        """The next pieces to write, numbered; they are on the way from now on."""
        if not self._pieces or self.closed:
            return None
        taken, self._pieces = self._pieces[:most], self._pieces[most:]
        pieces = Pieces(self.job_id, self.claim, self._next, taken)
        self._next += len(taken)
        return pieces

    def end(self) -> int:
        """Its claim is over: what waits will never be written; how many pieces that were."""
        self.closed = True
        dropped, self._pieces = len(self._pieces), []
        return dropped

    @property
    def waiting(self) -> bool:
        """Whether something is not on its way yet."""
        return bool(self._pieces) and not self.closed


class Emitter:
    """One loop for all sheets of a runner."""

    def __init__(self, output: Output, clock: Clock) -> None:
        self._output = output
        self._outage = Outage("emit", clock)
        self._sheets: dict[str, Sheet] = {}
        self._buffered = 0
        self._work = anyio.Event()
        self._written = anyio.Event()

    def open(self, sheet: Sheet) -> None:
        """Output of this attempt will come."""
        self._sheets[sheet.claim] = sheet

    async def put(self, sheet: Sheet, stream: Stream, text: str) -> None:
        """Adds a piece; waits while too much is buffered."""
        while self._buffered >= BUFFER_PIECES_MAX and not sheet.closed:
            await self._written.wait()
        if not sheet.closed:
            self._buffered += sheet.add(stream, text)
            self._work.set()

    async def close(self, sheet: Sheet) -> None:
        """Waits until everything of this attempt is written, so that nothing follows its end."""
        while sheet.waiting or sheet.claim in self._under_way:
            self._work.set()
            await self._written.wait()
        self._sheets.pop(sheet.claim, None)

    _under_way: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Writes until it is canceled."""
        while True:
            await self._work.wait()
            self._work = anyio.Event()
            batch = self._batch()
            if batch:
                self._under_way = frozenset(pieces.claim for pieces in batch)
                await self._write(batch)
                self._under_way = frozenset()
            self._written.set()
            self._written = anyio.Event()
            if any(sheet.waiting for sheet in self._sheets.values()):
                self._work.set()

    def _batch(self) -> list[Pieces]:
        batch: list[Pieces] = []
        room = BATCH_ITEMS_MAX
        for sheet in self._sheets.values():
            pieces = sheet.take(room)
            if pieces is not None:
                batch.append(pieces)
                room -= len(pieces.pieces)
            if room == 0:
                break
        self._buffered -= sum(len(pieces.pieces) for pieces in batch)
        return batch

    async def _write(self, batch: list[Pieces]) -> None:
        while True:
            try:
                self._judge(batch, await self._output.emit(batch))
            except Unavailable as error:
                await self._outage.wait(error)
            else:
                self._outage.over()
                return

    def _judge(self, batch: list[Pieces], accepted: list[bool]) -> None:
        for pieces, good in zip(batch, accepted, strict=True):
            sheet = self._sheets.get(pieces.claim)
            if not good and sheet is not None:
                self._buffered -= sheet.end()
                sheet.over()
