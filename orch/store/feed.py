"""The feed: which jobs each call touched, so that one reader can wake all watchers of a process."""

from __future__ import annotations

from orch.store.connection import BlockingReader, Connection

_READ_ENTRIES = 512


class Feed:
    """A position in the feed. A slow or absent reader loses nothing: the ledgers are the source."""

    def __init__(self, connection: Connection, *, block_ms_max: int) -> None:
        self._connection = connection
        self._reader: BlockingReader | None = None
        self._block_ms_max = block_ms_max
        self._incarnation = 0

    async def tail(self) -> str:
        """The position now."""
        last = await self._connection.execute(
            "XREVRANGE", self._connection.keys.feed, "+", "-", "COUNT", 1
        )
        self._incarnation = self._connection.watermark.incarnation
        return str(last[0][0]) if last else "0-0"

    async def read(self, after: str, *, block_ms: int) -> tuple[str, dict[str, int], bool]:
        """What happened after a position: the new position, job id -> highest ledger seq, and whether
        something may have been missed (trimmed, or the server is another incarnation): then every
        watcher looks again."""
        if self._reader is None:
            self._reader = self._connection.reader(self._block_ms_max)
        name = self._connection.keys.feed
        lost = await self._missed(after)
        streams = await self._reader.read(
            "XREAD", "COUNT", _READ_ENTRIES, "BLOCK", block_ms, "STREAMS", name, after
        )
        touched: dict[str, int] = {}
        for entry_id, fields in streams.get(name, []):
            after = entry_id
            for word in fields.get("j", "").split(","):
                job_id, _, seq = word.rpartition(":")
                touched[job_id] = max(int(seq), touched.get(job_id, 0))
        return after, touched, lost

    async def _missed(self, after: str) -> bool:
        incarnation = self._connection.watermark.incarnation
        if incarnation != self._incarnation:
            self._incarnation = incarnation
            return True
        oldest = await self._connection.execute(
            "XRANGE", self._connection.keys.feed, "-", "+", "COUNT", 1
        )
        return bool(oldest) and after != "0-0" and _number(oldest[0][0]) > _number(after)


def _number(entry_id: str) -> tuple[int, int]:
    ms, _, n = entry_id.partition("-")
    return int(ms), int(n or 0)
