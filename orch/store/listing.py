"""Which jobs does one page of a list hold, and how much may be looked at for it?

Newest first, over one tenant's order of arrival or all of them merged. A page ends when it is full, or when
enough was looked at; its cursor then goes on where it stopped, so a filter that fits nothing costs many short
calls and never a long one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Final

import orjson

from contracts import limits
from contracts.record import JobList, JobRecord
from orch.core.asks import JobFilter
from orch.core.ledger import state_of
from orch.store.connection import Connection
from orch.store.cursors import check_age, cursor_in, cursor_out, newest, tenants_of

CHUNK: Final = 64
"""Names read from one tenant's order at a time."""
CLOCK_SET_BACK_MS_MAX: Final = limits.HOUR_MS
"""Arrival is the order of creation, but for a server's clock that was set back by less than this."""

Fields = dict[str, str]
Recorder = Callable[[str, Fields], Awaitable[JobRecord]]


class _Names:
    """One tenant's jobs, newest first, read in chunks."""

    def __init__(self, connection: Connection, tenant: str, before: int | None, chunk: int) -> None:
        self._connection = connection
        self._key = connection.keys.jobs(tenant)
        self._before = before
        self._chunk = chunk
        self._read: list[tuple[int, str]] = []

    async def next(self) -> tuple[int, str] | None:
        """Arrival and id, or None behind the oldest."""
        if not self._read:
            chunk = await newest(self._connection, self._key, self._before, self._chunk)
            self._read = chunk[::-1]
            self._chunk = CHUNK
        if not self._read:
            return None
        found = self._read.pop()
        self._before = found[0]
        return found


class Look:
    """What was looked at for one page."""

    def __init__(self, connection: Connection, which: JobFilter, record: Recorder) -> None:
        self._connection = connection
        self._which = which
        self._record = record
        self._jobs = 0
        self._bytes = 0
        self.is_past = False
        """Whether everything further on was created before what is meant."""

    @property
    def is_enough(self) -> bool:
        """Whether the page ends here, full or not."""
        return self._jobs >= limits.LIST_JOBS_MAX or self._bytes >= limits.LIST_BYTES_MAX

    async def at(self, job_id: str) -> JobRecord | None:
        """The record, if this job is meant and still there."""
        self._jobs += 1
        key = self._connection.keys.job(job_id)
        if self._which.asks_the_head and not await self._head_fits(key):
            return None
        if self._which.asks_the_spec and not await self._spec_fits(key):
            return None
        fields: Fields = await self._connection.execute("HGETALL", key)
        self._bytes += sum(map(len, fields.values()))
        return await self._record(job_id, fields) if fields else None

    async def _head_fits(self, key: str) -> bool:
        code, pool, made_at = await self._connection.execute(
            "HMGET", key, "state", "pool", "made_at"
        )
        if code is None:
            return False
        since = self._which.created_from_ms
        self.is_past = since is not None and int(made_at) < since - CLOCK_SET_BACK_MS_MAX
        return self._which.fits(state_of(code), pool, int(made_at))

    async def _spec_fits(self, key: str) -> bool:
        spec = await self._connection.execute("HGET", key, "spec")
        self._bytes += len(spec or "")
        return spec is not None and self._which.fits_spec(orjson.loads(spec))


async def list_jobs(
    connection: Connection, which: JobFilter, record: Recorder, *, limit: int, cursor: str | None
) -> JobList:
    """A page. It may be short while `next_cursor` still leads on.

    Raises:
        Refused: INVALID_REQUEST, a cursor of another list or none of ours; EXPIRED_CURSOR.
    """
    limit = max(1, min(limit, limits.PAGE_ITEMS_MAX))
    before = cursor_in(which, cursor)
    if before is not None:
        arrivals = await connection.execute("HGET", connection.keys.meta, "arrivals")
        check_age(before, int(arrivals or 0))
    found: list[JobRecord] = []
    look = Look(connection, which, record)
    async for arrival, job_id in _newest_first(
        connection, await tenants_of(connection, which.tenant), before
    ):
        job = await look.at(job_id)
        if job is not None:
            found.append(job)
        if look.is_past:
            break
        if len(found) == limit or look.is_enough:
            return JobList(jobs=found, next_cursor=cursor_out(which, arrival))
    return JobList(jobs=found, next_cursor=None)


async def _newest_first(
    connection: Connection, tenants: Sequence[str], before: int | None
) -> AsyncIterator[tuple[int, str]]:
    """The orders of all tenants as one: each tenant's next job waits in a heap, the newest on top."""
    first = max(1, CHUNK // max(1, len(tenants)))
    heap: list[tuple[int, str, int]] = []
    orders = [_Names(connection, tenant, before, first) for tenant in tenants]
    for n, order in enumerate(orders):
        if (job := await order.next()) is not None:
            heap.append((-job[0], job[1], n))
    heapify(heap)
    while heap:
        arrival, job_id, n = heap[0]
        yield -arrival, job_id
        following = await orders[n].next()
        if following is None:
            heappop(heap)
        else:
            heapreplace(heap, (-following[0], following[1], n))
