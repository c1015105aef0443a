"""Submissions that arrive together: one call for those who wait, an answer for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.abc
import pytest

from actors.gateway.gather import Answer, Gathering
from contracts import limits
from contracts.errors import Corrupt, ErrorCode, Refused, Unavailable
from contracts.record import Submitted
from contracts.states import State
from orch.core.asks import Ask
from orch.store.submissions import Submissions
from tests.actors.gateway.house import SPEC, running, wait_until


def submitted(job_id: str) -> Submitted:
    return Submitted(
        job_id=job_id,
        state=State.QUEUED,
        queue_position=0,
        predicted_start_ms=None,
        duplicate=False,
    )


class SlowAdmission:
    """Answers a call when the test lets it."""

    def __init__(self) -> None:
        self.submissions = Submissions(full_policy="reject")
        self.calls: list[list[str | None]] = []
        self.fault: Callable[[Sequence[Ask]], Exception | None] = lambda _: None
        self.refused: dict[str, Refused] = {}
        self.gate = anyio.Semaphore(0)

    async def admit(self, asks: Sequence[Ask]) -> list[Answer]:
        self.calls.append([ask.job_id for ask in asks])
        await self.gate.acquire()
        if (fault := self.fault(asks)) is not None:
            raise fault
        names = [str(ask.job_id) for ask in asks]
        return [self.refused.get(name) or submitted(name) for name in names]

    def let(self, calls: int = 1) -> None:
        for _ in range(calls):
            self.gate.release()


@dataclass
class Room:
    tasks: anyio.abc.TaskGroup
    store: SlowAdmission = field(default_factory=SlowAdmission)
    told: dict[str, object] = field(default_factory=dict)
    scopes: dict[str, anyio.CancelScope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gathering = Gathering(self.store)

    async def come(self, *names: str, size: int = 1) -> None:
        """Each asks, in this order."""
        for name in names:
            self.tasks.start_soon(self._ask, name, size)
            await wait_until(lambda name=name: name in self.scopes)  # type: ignore[misc]  # mypy loses the default argument

    async def _ask(self, name: str, size: int) -> None:
        with anyio.CancelScope() as self.scopes[name]:
            try:
                self.told[name] = await self.gathering.admit(Ask({}, job_id=name), size=size)
            except (Corrupt, Refused, Unavailable) as error:
                self.told[name] = error
        self.told.setdefault(name, "gone")

    async def until_told(self, *names: str) -> list[object]:
        await wait_until(lambda: set(names) <= set(self.told))
        return [self.told[name] for name in names]


def in_a_room(test: Callable[[Room], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            await test(Room(tasks))

    run.__name__ = test.__name__
    return run


@pytest.mark.req("ADM-1")
@in_a_room
async def test_who_comes_first_asks_at_once_and_those_who_come_meanwhile_ask_together(
    room: Room,
) -> None:
    await room.come("a", "b", "c")
    assert room.store.calls == [["a"]]
    room.store.let()
    assert await room.until_told("a") == [submitted("a")]
    await room.come("d")
    assert room.store.calls == [["a"], ["b", "c"]]
    room.store.let(2)
    assert await room.until_told("b", "c", "d") == [submitted(name) for name in "bcd"]
    await room.come("e")
    room.store.let()
    assert await room.until_told("e") == [submitted("e")]
    assert room.store.calls == [["a"], ["b", "c"], ["d"], ["e"]]


@pytest.mark.req("ADM-6")
@in_a_room
async def test_a_refusal_is_its_own_callers_alone(room: Room) -> None:
    refused = room.store.refused["c"] = Refused(ErrorCode.QUEUE_FULL, "full")
    await room.come("a", "b", "c", "d")
    room.store.let(2)
    assert await room.until_told("b", "c", "d") == [submitted("b"), refused, submitted("d")]


@pytest.mark.req("ADM-1")
@in_a_room
async def test_an_unreachable_store_is_unavailable_to_all_who_waited_and_to_no_later_one(
    room: Room,
) -> None:
    away = Unavailable(ErrorCode.UNAVAILABLE, "away")
    room.store.fault = lambda asks: away if len(asks) == 2 else None
    await room.come("a", "b", "c")
    room.store.let(2)
    assert await room.until_told("a", "b", "c") == [submitted("a"), away, away]
    await room.come("d")
    room.store.let()
    assert await room.until_told("d") == [submitted("d")]


@pytest.mark.req("ADM-6")
@in_a_room
async def test_broken_data_of_one_costs_the_others_nothing(room: Room) -> None:
    broken = Corrupt(ErrorCode.INTERNAL, "broken")
    room.store.fault = lambda asks: broken if "d" in [ask.job_id for ask in asks] else None
    await room.come("a", "b", "c", "d", "e")
    room.store.let(9)
    told = await room.until_told("b", "c", "d", "e")
    assert told == [submitted("b"), submitted("c"), broken, submitted("e")]


@pytest.mark.req("ADM-1")
@in_a_room
async def test_one_who_goes_away_while_waiting_is_not_submitted(room: Room) -> None:
    await room.come("a", "b", "c")
    room.scopes["b"].cancel()
    assert await room.until_told("b") == ["gone"]
    room.store.let(2)
    assert await room.until_told("c") == [submitted("c")]
    assert room.store.calls == [["a"], ["c"]]


@pytest.mark.req("ADM-1")
@in_a_room
async def test_one_who_goes_away_when_it_was_to_ask_for_the_others_hands_that_on(
    room: Room,
) -> None:
    await room.come("a", "b", "c")
    room.store.let()
    await wait_until(lambda: "a" in room.told)
    room.scopes["b"].cancel()
    room.store.let()
    assert (await room.until_told("c")) == [submitted("c")]


@pytest.mark.req("ADM-1")
@in_a_room
async def test_the_turn_is_handed_on_by_one_who_left_in_the_moment_it_got_it(room: Room) -> None:
    await room.come("a", "b", "c")

    def b_leaves(asks: Sequence[Ask]) -> None:
        # Before `a` hands the turn to `b`, which learns of both at once.
        if asks[0].job_id == "a":
            room.scopes["b"].cancel()

    room.store.fault = b_leaves
    room.store.let(2)
    assert await room.until_told("a", "b", "c") == [submitted("a"), "gone", submitted("c")]


@pytest.mark.req("ADM-1")
@in_a_room
async def test_one_who_asks_for_the_others_does_so_although_its_own_caller_goes_away(
    room: Room,
) -> None:
    await room.come("a", "b")
    room.scopes["a"].cancel()
    room.store.let(2)
    assert await room.until_told("b") == [submitted("b")]
    assert room.store.calls == [["a"], ["b"]]


@pytest.mark.req("ADM-1")
@in_a_room
async def test_whose_call_is_killed_by_the_server_of_http_leaves_nobody_waiting(room: Room) -> None:
    leader = asyncio.create_task(room.gathering.admit(Ask({}, job_id="a"), size=1))
    await wait_until(lambda: room.store.calls == [["a"]])
    await room.come("b")
    leader.cancel()  # uvicorn's way at the end of the grace; no shield keeps that off
    await wait_until(lambda: room.store.calls == [["a"], ["b"]])
    room.store.let()
    assert await room.until_told("b") == [submitted("b")]


@pytest.mark.req("ADM-1")
@in_a_room
async def test_those_of_a_killed_call_are_told_that_nobody_knows(room: Room) -> None:
    first = asyncio.create_task(room.gathering.admit(Ask({}, job_id="a"), size=1))
    await wait_until(lambda: room.store.calls == [["a"]])
    leader = asyncio.create_task(room.gathering.admit(Ask({}, job_id="b"), size=1))
    await wait_until(lambda: len(room.gathering._line) == 1)
    await room.come("c")
    room.store.let()
    await wait_until(lambda: room.store.calls == [["a"], ["b", "c"]])
    leader.cancel()
    (told,) = await room.until_told("c")
    assert isinstance(told, Unavailable)
    assert await first == submitted("a")


@pytest.mark.req("ADM-2")
@in_a_room
async def test_a_call_has_as_many_items_and_bytes_as_admission_takes_at_once(room: Room) -> None:
    names = [f"n{n}" for n in range(limits.BATCH_ITEMS_MAX + 1)]
    await room.come("a", *names)
    room.store.let()
    await wait_until(lambda: len(room.store.calls) == 2)
    await room.come("b", "c", size=limits.SUBMISSIONS_BYTES_MAX)
    room.store.let(9)
    await room.until_told("b", "c", *names)
    assert room.store.calls == [["a"], names[:-1], names[-1:], ["b"], ["c"]]


@pytest.mark.req("ADM-2")
@in_a_room
async def test_more_than_may_wait_is_refused_at_once_and_there_is_room_again_later(
    room: Room,
) -> None:
    await room.come("a")
    await room.come("b", size=limits.SUBMISSIONS_WAITING_BYTES_MAX)
    await room.come("c")
    (refused,) = await room.until_told("c")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.retry_after_ms) == (ErrorCode.RATE_LIMITED, 1_000)
    counted = room.store.submissions
    assert counted.refused_for_load == {"gateway-backlog": 1}
    assert counted.by_result == {"load": 1}
    room.store.let(2)
    await room.until_told("a", "b")
    await room.come("d", size=limits.SUBMISSIONS_WAITING_BYTES_MAX)
    room.store.let()
    assert await room.until_told("d") == [submitted("d")]


@pytest.mark.req("ADM-1", "API-1")
async def test_posts_that_arrive_together_are_answered_each_for_itself() -> None:
    async with running() as house:
        told: dict[str, str] = {}

        async def post(name: str) -> None:
            answer = await house.http.post("/v1/jobs", json={**SPEC, "id": name})
            told[name] = answer.headers["location"]

        async with anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(post, f"job-{n}")
        assert told == {f"job-{n}": f"/v1/jobs/job-{n}" for n in range(50)}
        assert house.store.calls["admit"] <= 50
