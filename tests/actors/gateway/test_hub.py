"""The hub alone: who is nudged, who shares a read, who is not taken along by another's leaving."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from typing_extensions import override

from actors.gateway.hub import Hub, Watcher
from contracts.errors import Unavailable
from contracts.record import LedgerEvent, LogLine
from orch.system import SystemClock
from tests.actors.gateway.fake_store import FakeStore
from tests.actors.gateway.house import wait_until


class GatedReading:
    """Reads that begin at once and end when the gate opens."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = anyio.Event()
        self.fault: Exception | None = None

    async def ledger(self, job_id: str, *, after: int, limit: int) -> list[LedgerEvent]:
        self.begun += 1
        await self.gate.wait()
        if self.fault:
            raise self.fault
        return []

    async def output(self, job_id: str, *, after: int, limit: int) -> tuple[list[LogLine], int]:
        return [], 0


@asynccontextmanager
async def hub_over(
    reading: GatedReading, feed: FakeStore | None = None
) -> AsyncIterator[tuple[Hub, anyio.abc.TaskGroup]]:
    hub = Hub(feed=feed or FakeStore(), reading=reading, clock=SystemClock(), block_ms=60_000)
    async with anyio.create_task_group() as tasks:
        await tasks.start(hub.run)
        yield hub, tasks
        tasks.cancel_scope.cancel()


@pytest.mark.req("EVT-3")
async def test_watchers_at_the_same_place_share_a_read_and_others_do_not() -> None:
    reading = GatedReading()
    async with hub_over(reading) as (hub, tasks):
        with hub.watch("a") as one, hub.watch("a") as two, hub.watch("b") as other:
            answers: list[list[LedgerEvent]] = []

            async def read(watcher: Watcher, after: int) -> None:
                answers.append(await watcher.ledger(after))

            for watcher, after in ((one, 0), (two, 0), (two, 5), (other, 0)):
                tasks.start_soon(read, watcher, after)
            await wait_until(lambda: reading.begun == 3)
            reading.gate.set()
            await wait_until(lambda: len(answers) == 4)
            assert reading.begun == 3

            await one.ledger(0)
            assert reading.begun == 4, "a read that has landed is not kept"


@pytest.mark.req("EVT-3", "EVT-2")
async def test_who_was_nudged_is_not_served_from_a_read_that_began_before() -> None:
    reading = GatedReading()
    async with hub_over(reading) as (hub, tasks):
        with hub.watch("a") as watcher:
            tasks.start_soon(watcher.ledger, 0)
            await wait_until(lambda: reading.begun == 1)

            hub.resync()
            tasks.start_soon(watcher.ledger, 0)
            await wait_until(lambda: reading.begun == 2)
            reading.gate.set()


class LateTail(FakeStore):
    """A feed that takes its time to say where it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = anyio.Event()

    @override
    async def tail(self) -> str:
        self._called("tail")
        await self.gate.wait()
        return await super().tail()


@pytest.mark.req("EVT-3", "EVT-2")
async def test_what_happened_before_the_hub_knew_where_the_feed_stands_is_not_missed() -> None:
    feed = LateTail()
    async with hub_over(GatedReading(), feed) as (hub, _):
        with hub.watch("a") as watcher:
            await wait_until(lambda: feed.calls["tail"] == 1)
            watcher.rest()  # here it reads, and then the job moves: the tail lies behind that

            feed.gate.set()
            with anyio.fail_after(1):
                await watcher.changed()


@pytest.mark.req("EVT-3")
async def test_the_watcher_who_began_a_read_may_leave_without_taking_the_answer_along() -> None:
    reading = GatedReading()
    answers: list[list[LedgerEvent]] = []
    async with hub_over(reading) as (hub, tasks):
        with hub.watch("a") as first, hub.watch("a") as second:
            leaving = anyio.CancelScope()

            async def leave() -> None:
                with leaving:
                    await first.ledger(0)

            async def stay() -> None:
                answers.append(await second.ledger(0))

            tasks.start_soon(leave)
            await wait_until(lambda: reading.begun == 1)
            tasks.start_soon(stay)
            await anyio.lowlevel.checkpoint()
            leaving.cancel()
            reading.gate.set()
            await wait_until(lambda: answers == [[]])

        assert reading.begun == 1


@pytest.mark.req("EVT-3")
async def test_an_error_of_a_shared_read_reaches_each_watcher_and_not_the_hub() -> None:
    reading = GatedReading()
    reading.fault = ValueError("broken")
    reading.gate.set()
    async with hub_over(reading) as (hub, _):
        with hub.watch("a") as watcher:
            for _ in range(2):
                with pytest.raises(ValueError, match="broken"):
                    await watcher.ledger(0)


@pytest.mark.req("API-5")
async def test_a_hub_that_stops_leaves_no_watcher_waiting() -> None:
    reading = GatedReading()
    refused: list[Unavailable] = []
    async with anyio.create_task_group() as outer, hub_over(reading) as (hub, _):

        async def read() -> None:
            with hub.watch("a") as watcher:
                try:
                    await watcher.ledger(0)
                except Unavailable as error:
                    refused.append(error)

        outer.start_soon(read)
        await wait_until(lambda: reading.begun == 1)
    assert len(refused) == 1
