"""Output of running attempts: appended in batches, read in pages."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.record import LogLine
from orch.core.handover import Pieces
from orch.store.connection import Connection


class Output:
    """The tail of every job's output."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def emit(self, batch: Sequence[Pieces]) -> list[bool]:
        """Appends; False where the claim is over. Repeating a call adds nothing twice."""
        flat: list[str | int] = []
        for one in batch:
            flat += (one.job_id, one.claim, one.first, len(one.pieces))
            for stream, text in one.pieces:
                flat += (stream, text)
        reply = await self._connection.call("emit", len(batch), *flat)
        return [verdict == "ok" for verdict in reply[1]]

    async def read(self, job_id: str, *, after: int, limit: int) -> tuple[list[LogLine], int]:
        """Pieces with i > `after`, and how many were trimmed: all before the first one that is kept."""
        name = self._connection.keys.output(job_id)
        entries = await self._connection.execute(
            "XRANGE", name, f"{after + 1}-0", "+", "COUNT", limit
        )
        lines = []
        for entry_id, fields in entries:
            stream, text = next(iter(fields.items())) if isinstance(fields, dict) else fields[:2]
            lines.append(LogLine(i=int(entry_id.partition("-")[0]), stream=stream, text=text))
        if after == 0 or not lines or lines[0].i > after + 1:
            return lines, lines[0].i - 1 if lines else 0
        oldest = await self._connection.execute("XRANGE", name, "-", "+", "COUNT", 1)
        return lines, int(oldest[0][0].partition("-")[0]) - 1 if oldest else 0
