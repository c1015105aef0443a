"""A call whose answer was lost comes again, after somebody else has called: it is done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contracts import limits
from contracts.schedules import Fate, FireAnswer
from contracts.states import TERMINAL
from tests.store.injection import lost_answer
from tests.store.timetables import carry_out, due_since, jobs, read, schedule
from tests.store.world import HOUR_MS, World

# ---------------------------------------------------------------- fires of a schedule


async def fire(world: World, **keys: Any) -> FireAnswer:
    return await world.store.schedules.fire_now("default", "s", **keys)


async def fire_and_lose(
    world: World, meanwhile: Callable[[], Awaitable[None]], **keys: Any
) -> FireAnswer:
    """A fire by hand whose first answer is lost; its repeat changes nothing."""
    before: dict[str, Any] = {}

    async def act() -> None:
        await meanwhile()
        before.update(await world.contents())

    with lost_answer(world.connection, "fire", act):
        answer = await fire(world, **keys)
    assert await world.contents() == before
    return answer


async def live(world: World) -> list[str]:
    """Jobs that are not over."""
    ids = await jobs(world)
    return [one for one in ids if await world.state(one) not in TERMINAL]


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize("key", [None, "k1"])
@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
async def test_a_fire_by_hand_is_done_once_though_somebody_fired_before_it_came_again(
    world: World, overlap: str, key: str | None
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap=overlap))
    others: list[FireAnswer] = []

    async def another() -> None:
        others.append(await fire(world))

    answer = await fire_and_lose(world, another, key=key)
    assert (answer.result, answer.duplicate) == (Fate.FIRED, False)
    shown = await world.store.schedules.get("default", "s")
    assert shown.last_job_id == others[0].job_id
    assert shown.last is not None
    assert (shown.last.result, shown.last.job_id) == (others[0].result, others[0].job_id)
    made = [answer.job_id] if overlap == "skip" else [answer.job_id, others[0].job_id]
    assert await jobs(world) == made
    assert (shown.counts.fired, shown.counts.skipped) == (len(made), 2 - len(made))


@pytest.mark.req("SCH-6")
async def test_after_a_repeated_fire_replace_still_leaves_one_job_alive(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="replace"))

    async def another() -> None:
        await fire(world)

    await fire_and_lose(world, another)
    last = await fire(world)
    assert await live(world) == [last.job_id]


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize("key", [None, "k1"])
async def test_a_repeated_fire_whose_job_is_retired_makes_no_other(
    world: World, key: str | None
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="replace"))

    async def replace_and_retire() -> None:
        await fire(world)
        await world.store.timers.retire(retention_ms=-2 * HOUR_MS, most=9, hours=24)

    answer = await fire_and_lose(world, replace_and_retire, key=key)
    assert answer.result is Fate.FIRED
    shown = await world.store.schedules.get("default", "s")
    assert (await jobs(world), shown.counts.fired) == ([shown.last_job_id], 2)
    assert answer.job_id != shown.last_job_id


@pytest.mark.req("SCH-6")
async def test_as_many_fires_by_hand_are_known_again_as_the_limit_says(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="replace"))

    async def others() -> None:
        for _ in range(limits.CALLS_KEPT - 1):
            await fire(world)

    await fire_and_lose(world, others)
    last = await fire(world)
    assert await live(world) == [last.job_id]
    marks = await world.redis("HGET", world.connection.keys.schedule("default", "s"), "marks")
    assert len(marks.split("\n")) == limits.CALLS_KEPT


@pytest.mark.req("SCH-6")
async def test_a_time_that_was_carried_out_is_answered_as_at_first_though_somebody_fired_by_hand(
    world: World,
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="queue"))
    at_ms = await due_since(world, 0)
    by_hand: list[FireAnswer] = []
    before: dict[str, Any] = {}

    async def another() -> None:
        by_hand.append(await fire(world))
        before.update(await world.contents())

    with lost_answer(world.connection, "fire", another):
        fired = await carry_out(world, await read(world))
    assert await world.contents() == before
    assert fired is not None
    assert (fired.result, fired.fire_at_ms, fired.by_hand) == (Fate.FIRED, at_ms, False)
    assert (await world.store.schedules.get("default", "s")).last_job_id == by_hand[0].job_id
