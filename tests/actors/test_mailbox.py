"""The loop of the stream-driven actors: nobody is held up by a bad entry, nothing is skipped in an outage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import anyio
import pytest

from actors.mailbox import Entry, Mailbox, serve
from contracts.errors import Corrupt, ErrorCode, OrchError, Refused
from contracts.limits import DELIVERIES_MAX
from orch.store.connection import BlockingReader
from orch.telemetry.health import Health
from tests.actors.fakes import FakeClock, FakeGroup, away


class Desk:
    """An actor that settles what it can read."""

    def __init__(self, group: FakeGroup, faults: dict[str, Exception] | None = None) -> None:
        self.group = group
        self.faults = faults or {}
        self.handled: list[str] = []
        self.tried: list[str] = []
        self.given_up: list[tuple[str, OrchError]] = []
        self.registered = 0
        self.outage = 0
        """So many calls more find no Redis."""

    async def handle(self, entries: Sequence[Entry]) -> None:
        if self.outage > 0:
            self.outage -= 1
            raise away()
        self.tried += [entry.entry_id for entry in entries]
        for entry in entries:
            if entry.entry_id in self.faults:
                raise self.faults[entry.entry_id]
        for entry in entries:
            self.handled.append(entry.entry_id)
            self.group.settle(entry.entry_id)

    async def give_up(self, entry: Entry, error: OrchError) -> None:
        self.given_up.append((entry.entry_id, error))
        self.group.settle(entry.entry_id)

    async def register(self) -> None:
        self.registered += 1

    async def serve_until(self, fact: Callable[[], bool]) -> None:
        clock = FakeClock()
        reader = cast(BlockingReader, self.group)
        mailbox = Mailbox(self.group.stream, "g", "me", reader, self.register)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                partial(
                    serve, mailbox, self.handle, self.give_up, clock=clock, health=Health(clock)
                )
            )
            with anyio.fail_after(5):
                while not fact():
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()


def entries(*ids: str) -> list[tuple[str, dict[str, str]]]:
    return [(entry_id, {"n": entry_id}) for entry_id in ids]


@pytest.mark.req("ADM-6")
@pytest.mark.parametrize(
    "fault",
    [
        Corrupt(ErrorCode.INTERNAL, "no such field"),
        Refused(ErrorCode.INVALID_SPEC, "no"),
        ValueError("a defect of ours"),
    ],
    ids=["corrupt", "refused", "unexpected"],
)
async def test_a_bad_entry_is_given_up_after_its_tries_and_holds_up_nobody(
    fault: Exception,
) -> None:
    desk = Desk(FakeGroup(new=entries("1", "2", "3")), {"2": fault})
    await desk.serve_until(lambda: bool(desk.given_up) and desk.group.pending == [])
    assert desk.handled == ["1", "3"]
    ((given_up, error),) = desk.given_up
    assert given_up == "2"
    assert error is fault or isinstance(error, Corrupt)
    alone = desk.tried[3:]
    assert alone.count("2") == DELIVERIES_MAX


@pytest.mark.req("ADM-6")
async def test_in_an_outage_nothing_is_given_up_and_own_entries_come_first_afterwards() -> None:
    desk = Desk(FakeGroup(new=entries("1", "2")))
    desk.outage = DELIVERIES_MAX + 2
    await desk.serve_until(lambda: desk.handled == ["1", "2"])
    assert desk.given_up == []
    assert desk.group.starts[: 2 + DELIVERIES_MAX] == ["0", ">"] + ["0"] * DELIVERIES_MAX


async def test_what_an_earlier_start_left_comes_before_anything_new() -> None:
    desk = Desk(FakeGroup(new=entries("3"), pending=entries("1", "2")))
    await desk.serve_until(lambda: len(desk.handled) == 3)
    assert desk.handled == ["1", "2", "3"]


@pytest.mark.req("REA-3")
async def test_a_group_that_is_gone_is_made_again() -> None:
    group = FakeGroup(new=entries("1"), failures=[away("NOGROUP No such key"), away()])
    desk = Desk(group)
    await desk.serve_until(lambda: desk.handled == ["1"])
    assert desk.registered == 1
