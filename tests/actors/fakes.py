"""Small stand-ins that keep the promises of what they stand for: a clock, a stream group, the output verb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
from anyio.lowlevel import checkpoint

from contracts.errors import ErrorCode, Unavailable
from orch.core.handover import Pieces


class FakeClock:
    """A clock that jumps instead of waiting."""

    def __init__(self) -> None:
        self.now_ms = 0

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep_ms(self, duration_ms: float) -> None:
        self.now_ms += int(duration_ms)
        await checkpoint()


def away(text: str = "Redis cannot be reached") -> Unavailable:
    return Unavailable(ErrorCode.UNAVAILABLE, text)


@dataclass
class FakeGroup:
    """One reader's view of a consumer group: new entries become its pending ones until they are settled."""

    stream: str = "s"
    new: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    pending: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    failures: list[Unavailable] = field(default_factory=list)
    """Raised by the next reads, one each."""
    starts: list[str] = field(default_factory=list)

    async def read(self, *command: str | int) -> dict[str, list[tuple[str, dict[str, str]]]]:
        start = str(command[-1])
        self.starts.append(start)
        await checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        if start == ">":
            if not self.new:
                await anyio.Event().wait()  # blocks; the test ends it
            self.pending, self.new = self.pending + self.new, []
        return {self.stream: list(self.pending)} if self.pending else {}

    def settle(self, entry_id: str) -> None:
        self.pending = [entry for entry in self.pending if entry[0] != entry_id]


@dataclass
class FakeOutput:
    """The verb `emit`: keeps what living claims say, refuses the others."""

    over: set[str] = field(default_factory=set)
    kept: list[tuple[str, int, str]] = field(default_factory=list)
    gate: anyio.Event = field(default_factory=anyio.Event)
    """Every call waits for it: a slow server."""

    async def emit(self, batch: Sequence[Pieces]) -> list[bool]:
        await self.gate.wait()
        await checkpoint()
        for one in batch:
            if one.claim not in self.over:
                numbered = enumerate(one.pieces, one.first)
                self.kept += [(one.claim, i, text) for i, (_, text) in numbered]
        return [one.claim not in self.over for one in batch]
