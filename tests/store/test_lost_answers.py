"""A call whose answer was lost comes again, after somebody else has called: it is done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.schedules import Fate, FireAnswer
from contracts.states import TERMINAL
from orch.core.webhooks import InHand
from tests.store.injection import lost_answer
from tests.store.notifying import collect, fill_line, hook, tried
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


# ---------------------------------------------------------------- deliveries that are queued by hand


async def nobody() -> None:
    """Nothing happens meanwhile."""


async def die(world: World, count: int) -> None:
    """So many deliveries are dead."""
    ids = await world.submit_many("job", count)
    for job_id in ids:
        await world.store.steering.cancel(job_id, by="me")
    (taken,) = await collect(world)
    await world.store.deliveries.deliver(taken, tried(taken, "dead"))


@pytest.mark.req("EVT-4")
async def test_a_test_that_took_the_last_place_of_the_line_is_not_refused_when_it_comes_again(
    world: World,
) -> None:
    made = await hook(world)
    await fill_line(world, made.webhook_id, but=1)
    with lost_answer(world.connection, "post", nobody):
        answer = await world.store.webhooks.test(made.webhook_id)
    assert len(answer.delivery_ids) == 1
    assert (await world.store.webhooks.one(made.webhook_id)).pending == limits.WEBHOOK_POSTS_MAX
    before = await world.contents()
    with pytest.raises(Refused) as caught:
        await world.store.webhooks.test(made.webhook_id)
    assert caught.value.code is ErrorCode.LIMIT_REACHED
    assert await world.contents() == before


@pytest.mark.req("EVT-4")
async def test_deliveries_sent_once_more_are_not_refused_when_the_call_comes_again(
    world: World,
) -> None:
    await world.pool()
    made = await hook(world)
    await die(world, 2)
    await fill_line(world, made.webhook_id, but=3)
    with lost_answer(world.connection, "post", nobody):
        answer = await world.store.webhooks.resend(made.webhook_id, None)
    assert len(answer.delivery_ids) == 2
    assert (await world.store.webhooks.one(made.webhook_id)).pending == limits.WEBHOOK_POSTS_MAX - 1


@pytest.mark.req("EVT-4")
async def test_dead_deliveries_for_which_there_is_no_room_stay_dead(world: World) -> None:
    await world.pool()
    made = await hook(world)
    await die(world, 2)
    await world.store.webhooks.test(made.webhook_id)
    await fill_line(world, made.webhook_id, but=1)
    before = await world.contents()
    with pytest.raises(Refused) as caught:
        await world.store.webhooks.resend(made.webhook_id, None)
    assert caught.value.code is ErrorCode.LIMIT_REACHED
    assert await world.contents() == before


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize("verdict", ["delivered", "dead"])
async def test_a_test_that_was_sent_before_its_call_came_again_is_not_sent_twice(
    world: World, verdict: Literal["delivered", "dead"]
) -> None:
    made = await hook(world)
    before: dict[str, Any] = {}

    async def send() -> None:
        for _ in range(limits.CALLS_KEPT - 1):
            await world.store.webhooks.test(made.webhook_id)
        (taken,) = await collect(world)
        await world.store.deliveries.deliver(taken, tried(taken, verdict))
        before.update(await world.contents())

    with lost_answer(world.connection, "post", send):
        await world.store.webhooks.test(made.webhook_id)
    assert await world.contents() == before
    assert await collect(world) == []
    shown = (await world.store.webhooks.deliveries(made.webhook_id)).deliveries
    assert [one.state for one in shown] == [verdict] * limits.CALLS_KEPT


# ---------------------------------------------------------------- what a notifier writes down


async def deliver_and_lose(
    world: World, taken: InHand, meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """The receiver said 410, and the answer to the call that says so is lost; its repeat changes nothing."""
    before: dict[str, Any] = {}

    async def act() -> None:
        await meanwhile()
        before.update(await world.contents())

    with lost_answer(world.connection, "deliver", act):
        gone = tried(taken, "dead", off="410")
        assert await world.store.deliveries.deliver(taken, gone) == [False]
    assert await world.contents() == before


@pytest.mark.req("EVT-4")
async def test_a_webhook_that_was_switched_on_stays_on_when_the_410_before_comes_again(
    world: World,
) -> None:
    await world.pool()
    made = await hook(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    (taken,) = await collect(world)

    async def switch_on() -> None:
        await world.store.webhooks.switch_on(made.webhook_id)

    await deliver_and_lose(world, taken, switch_on)
    assert (await world.store.webhooks.one(made.webhook_id)).off is None


@pytest.mark.req("EVT-4")
async def test_a_delivery_that_is_sent_once_more_waits_though_the_call_of_its_death_comes_again(
    world: World,
) -> None:
    await world.pool()
    made = await hook(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    (taken,) = await collect(world)

    async def switch_on_and_resend() -> None:
        await world.store.webhooks.switch_on(made.webhook_id)
        await world.store.webhooks.resend(made.webhook_id, None)

    await deliver_and_lose(world, taken, switch_on_and_resend)
    (again,) = await collect(world)
    assert [post.event for post in again.posts] == [post.event for post in taken.posts]
    await world.store.deliveries.deliver(again, tried(again, "dead", off="410"))
    shown = await world.store.webhooks.one(made.webhook_id)
    assert (shown.off, shown.pending, shown.dead) == ("410", 0, 2), "it may die again"
