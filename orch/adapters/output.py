"""How do an agent's bytes become bounded, ordered log entries, and one blob of everything?

Entries go to the desk, which pushes back when the store is slow; then the pipe fills and the agent waits.
Short lines are gathered for a moment, so that a viewer sees them at once and a chatty agent does not make
an entry per line. Memory is constant, whatever arrives. The raw bytes go to a spool besides.
"""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

import anyio
from anyio import CancelScope, wait_readable
from anyio.lowlevel import checkpoint

from contracts import limits
from contracts.events import EventType
from orch.adapters.process import CHUNK_BYTES
from orch.adapters.protocol import Desk, Stream
from orch.adapters.workshop import Blobs
from orch.ports import Clock

GATHER_S: Final = 0.05
"""How long an entry waits for more text."""
TAIL_BYTES_SURE: Final = 64 * 1024
TAIL_ENTRIES_SURE: Final = 256
"""Up to here the live tail keeps an attempt's output whole; beyond it the spool becomes a blob."""


class Splitter:
    """Bytes of one stream in, text entries of at most `bytes_max` UTF-8 bytes out; never half a character."""

    def __init__(self, bytes_max: int = limits.LOG_ENTRY_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = b""

    @property
    def pending(self) -> bool:
        """Whether text waits for more."""
        return bool(self._pending)

    def feed(self, data: bytes) -> list[str]:
        """The full entries that `data` completes."""
        self._pending += self._decoder.decode(data).encode()
        entries, start = [], 0
        while len(self._pending) - start >= self._bytes_max:
            cut = self._cut(start)
            entries.append(self._pending[start:cut].decode())
            start = cut
        self._pending = self._pending[start:]
        return entries

    def ripe(self) -> list[str]:
        """What has waited long enough: the complete lines, or the beginning of a line if that is all."""
        cut = self._pending.rfind(b"\n") + 1 or len(self._pending)
        entry, self._pending = self._pending[:cut], self._pending[cut:]
        return [entry.decode()] if entry else []

    def rest(self) -> list[str]:
        """Everything, at the end of the stream; an unfinished character becomes U+FFFD."""
        self._pending += self._decoder.decode(b"", final=True).encode()
        entries = self.feed(b"")
        return entries + [self._pending.decode()] * bool(self._pending)

    def _cut(self, start: int) -> int:
        end = start + self._bytes_max
        line_end = self._pending.rfind(b"\n", start, end) + 1
        if line_end:
            return line_end
        while end < len(self._pending) and self._pending[end] & 0xC0 == 0x80:
            end -= 1
        return end


class Spool:
    """The first OUTPUT_BLOB_BYTES_MAX raw bytes; in memory while they are few."""

    def __init__(self, folder: Path, bytes_max: int = limits.OUTPUT_BLOB_BYTES_MAX) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._head: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.bytes = 0
        self.truncated = False

    def write(self, data: bytes) -> None:
        """Appends; what is over the bound is left out and marked."""
        room = self._bytes_max - self.bytes
        if len(data) > room:
            self.truncated = True
            data = data[:room]
        self.bytes += len(data)
        if self._file is None:
            self._head.append(data)
            if self.bytes > TAIL_BYTES_SURE:
                self._spill()
        else:
            self._file.write(data)

    def _spill(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by `close`
        self._file.write(b"".join(self._head))
        self._head.clear()

    async def store(self, blobs: Blobs) -> str:
        """Puts everything into a blob; its SHA-256."""
        if self._file is None:
            return (await blobs.put_bytes(b"".join(self._head))).sha256
        self._file.flush()
        ref = await blobs.put_file(Path(f"/proc/self/fd/{self._file.fileno()}"))
        return ref.sha256

    def close(self) -> None:
        """Frees the file; it has no name, so a crash frees it too."""
        if self._file is not None:
            self._file.close()


class Feed:
    """One stream's bytes on their way: gathered for a moment, then sent."""

    def __init__(self, output: Output, stream: Stream) -> None:
        self._output = output
        self._stream = stream
        self._splitter = Splitter()
        self.due: float | None = None
        """When `take` must be called again, with what there is, so that nobody waits for this text."""

    async def take(self, data: bytes) -> None:
        """Takes the next bytes, or none when `due` has come."""
        entries: list[str] = []
        if data:
            self._output.take(data)
            entries = self._splitter.feed(data)
        if self.due is not None and anyio.current_time() >= self.due:
            entries += self._splitter.ripe()
            self.due = None
        await self._output.send(self._stream, entries)
        if not self._splitter.pending:
            self.due = None
        elif self.due is None:
            self.due = anyio.current_time() + GATHER_S

    async def finish(self) -> None:
        """The stream is at its end: sends the rest."""
        await self._output.send(self._stream, self._splitter.rest())
        self.due = None


class Output:
    """All output of one attempt."""

    def __init__(self, desk: Desk, clock: Clock, folder: Path) -> None:
        self._desk = desk
        self._clock = clock
        self._spool = Spool(folder)
        self._entries = 0
        self._ended = False
        self._waits: set[CancelScope] = set()
        self.active_at_ms = clock.monotonic_ms()
        """When the agent last said anything, for the idle watchdog."""

    def begin(self) -> None:
        """A process starts: its pipes are open, its idle time begins."""
        self._ended = False
        self.active_at_ms = self._clock.monotonic_ms()

    def end(self) -> None:
        """No process of the tree is left: an empty pipe is the end, even if a stranger holds it open."""
        self._ended = True
        for scope in self._waits:
            scope.cancel()

    def feed(self, stream: Stream) -> Feed:
        """A way in for one stream's bytes."""
        return Feed(self, stream)

    async def drain(self, stream: Stream, fd: int) -> None:
        """Hands on what comes out of `fd` until its end."""
        feed = self.feed(stream)
        while (data := await self._read(fd, feed.due)) != b"":
            await feed.take(data or b"")
        await feed.finish()

    def take(self, data: bytes) -> None:
        """Spools raw bytes; the agent has shown that it lives."""
        self.active_at_ms = self._clock.monotonic_ms()
        self._spool.write(data)

    async def tell(self, event: EventType) -> None:
        """One event about the process itself."""
        await self._desk.note(event, {})

    async def send(self, stream: Stream, entries: list[str]) -> None:
        """Hands entries to the desk, in order; waits when the store is slow."""
        for entry in entries:
            self._entries += 1
            await self._desk.output(stream, entry)

    async def store(self, blobs: Blobs) -> dict[str, Any] | None:
        """Stores the raw output when the live tail may not keep it whole.

        Returns `{sha256, bytes, truncated}`, noted on the ledger as `output_stored`; None when the tail is
        enough.
        """
        spool = self._spool
        if spool.bytes <= TAIL_BYTES_SURE and self._entries <= TAIL_ENTRIES_SURE:
            return None
        sha256 = await spool.store(blobs)
        stored = {"sha256": sha256, "bytes": spool.bytes, "truncated": spool.truncated}
        await self._desk.note("output_stored", stored)
        return stored

    def close(self) -> None:
        """Frees the spool."""
        self._spool.close()

    async def _read(self, fd: int, due: float | None) -> bytes | None:
        """The next bytes, empty at the end, None when `due` came first."""
        while True:
            try:
                data = os.read(fd, CHUNK_BYTES)
            except BlockingIOError:
                if self._ended:
                    return b""
            else:
                await checkpoint()
                return data
            with anyio.move_on_after(None) as scope:
                scope.deadline = float("inf") if due is None else due
                self._waits.add(scope)
                try:
                    await wait_readable(fd)
                finally:
                    self._waits.discard(scope)
            if scope.cancelled_caught and not self._ended:
                return None
