"""How do thousands of watchers follow their jobs through one reader of the feed (EVT-3)?

The feed says which jobs changed, the ledger says what; so a nudge is only a hint, and a lost one is
made good by the next. A watcher owns its cursor and its pace: nobody waits for a slow one. Watchers
of one job that stand at the same place share one read. Frames and HTTP are `stream.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus

from contracts import limits
from contracts.errors import ErrorCode, Unavailable
from contracts.record import LedgerEvent, LogLine
from orch.ports import Clock
from orch.telemetry.health import STALE_MS, Health

PAGE: Final = limits.PAGE_ITEMS_MAX
OUTPUT_PAGE: Final = 64
"""A piece of output may have 8 KiB: a reader who takes nothing more holds one page of them, half a MiB."""


class _Feed(Protocol):
    async def tail(self) -> str: ...
    async def read(self, after: str, *, block_ms: int) -> tuple[str, dict[str, int], bool]: ...


class _Reading(Protocol):
    async def ledger(self, job_id: str, *, after: int, limit: int) -> list[LedgerEvent]: ...
    async def output(self, job_id: str, *, after: int, limit: int) -> tuple[list[LogLine], int]: ...


class _Flight:
    """One read under way; whoever asks the same meanwhile waits for its answer."""

    __slots__ = ("error", "landed", "value")

    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.value: Any = None
        self.error: Exception | None = Unavailable(ErrorCode.UNAVAILABLE, "the gateway is stopping")


class _Topic:
    """One watched job: its watchers, how often it was nudged, the reads under way."""

    __slots__ = ("flights", "nudges", "watchers")

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        self.nudges = 0
        self.flights: dict[tuple[str, int, int], _Flight] = {}

    def nudge(self) -> None:
        self.nudges += 1
        for watcher in self.watchers:
            watcher.nudge()


class Watcher:
    """One reader of one job. Rest, read until there is nothing new, then wait for a change."""

    __slots__ = ("_event", "_hub", "_job_id", "_topic")

    def __init__(self, hub: Hub, job_id: str, topic: _Topic) -> None:
        self._hub, self._job_id, self._topic = hub, job_id, topic
        self._event = anyio.Event()

    def nudge(self) -> None:
        """Something may have changed."""
        self._event.set()

    def rest(self) -> None:
        """Forget earlier nudges. Call it before reading: a change during the read is then kept."""
        if self._event.is_set():
            self._event = anyio.Event()

    async def changed(self) -> None:
        """Return once something may have changed since `rest`."""
        await self._event.wait()

    async def ledger(self, after: int) -> list[LedgerEvent]:
        """The next page of ledger entries past `after`; shorter than PAGE at the end."""

        async def read() -> list[LedgerEvent]:
            return await self._hub.reading.ledger(self._job_id, after=after, limit=PAGE)

        events: list[LedgerEvent] = await self._hub.share(self._topic, ("ledger", after), read)
        return events

    async def output(self, after: int) -> tuple[list[LogLine], int]:
        """The next page of output past `after`, and how many pieces were trimmed at the front."""

        async def read() -> tuple[list[LogLine], int]:
            return await self._hub.reading.output(self._job_id, after=after, limit=OUTPUT_PAGE)

        page: tuple[list[LogLine], int] = await self._hub.share(
            self._topic, ("output", after), read
        )
        return page


class Hub:
    """The gateway's one reader of the feed. `run` it in a task group; it ends by cancellation."""

    def __init__(
        self,
        *,
        feed: _Feed,
        reading: _Reading,
        clock: Clock,
        block_ms: int,
        resynced: Callable[[], None] = lambda: None,
        health: Health | None = None,
    ) -> None:
        """`resynced` hears that a part of the feed was missed."""
        self.reading = reading
        self._feed = feed
        self._clock = clock
        self._block_ms = block_ms
        self._resynced, self._health = resynced, health
        self._topics: dict[str, _Topic] = {}
        self._wanted = anyio.Event()
        self._tasks: TaskGroup | None = None

    @property
    def watched(self) -> int:
        """How many jobs have a watcher."""
        return len(self._topics)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watcher]:
        """A watcher of this job, known to the hub until the block ends."""
        topic = self._topics.setdefault(job_id, _Topic())
        watcher = Watcher(self, job_id, topic)
        topic.watchers.add(watcher)
        self._wanted.set()
        try:
            yield watcher
        finally:
            topic.watchers.discard(watcher)
            if not topic.watchers and self._topics.get(job_id) is topic:
                del self._topics[job_id]

    def resync(self) -> None:
        """Nudge every watcher: what was missed is in the ledgers."""
        for topic in self._topics.values():
            topic.nudge()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow the feed while anybody watches; with no watcher nothing is read."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            task_status.started()
            while True:
                await self._wanted.wait()
                if self._health is not None:
                    self._health.expect("feed", stale_ms=STALE_MS + self._block_ms)
                    self._health.cycled("feed")
                await self._follow()
                if self._health is not None:
                    self._health.rests("feed")
                self._wanted = anyio.Event()

    async def _follow(self) -> None:
        position: str | None = None
        while self._topics:
            try:
                if position is None:
                    # A job may have moved between its watcher's first read and this tail.
                    position = await self._feed.tail()
                    self.resync()
                position, touched, lost = await self._feed.read(position, block_ms=self._block_ms)
            except Unavailable:
                await self._clock.sleep_ms(limits.TICK_MS)
                continue
            if self._health is not None:
                self._health.cycled("feed")
            if lost:
                self._resynced()
                self.resync()
            else:
                for job_id in touched.keys() & self._topics.keys():
                    self._topics[job_id].nudge()

    async def share(
        self, topic: _Topic, place: tuple[str, int], read: Callable[[], Awaitable[Any]]
    ) -> Any:
        """The answer of one read for all who ask from the same place after the same nudge.

        The count of nudges is part of the key: a read begun before a nudge may miss what the nudge
        told of, and whoever was woken by it must not be served from there. The read is a task of the
        hub, so that a watcher who leaves does not take the others' answer along.
        """
        assert self._tasks is not None, "the hub runs before anybody watches"
        key = (*place, topic.nudges)
        flight = topic.flights.get(key)
        if flight is None:
            flight = topic.flights[key] = _Flight()
            self._tasks.start_soon(self._fly, topic, key, flight, read)
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error.with_traceback(None)
        return flight.value

    async def _fly(
        self,
        topic: _Topic,
        key: tuple[str, int, int],
        flight: _Flight,
        read: Callable[[], Awaitable[Any]],
    ) -> None:
        try:
            flight.value = await read()
            flight.error = None
        except Exception as error:  # noqa: BLE001 - handed to every watcher, who raises it
            flight.error = error
        finally:
            del topic.flights[key]
            flight.landed.set()
