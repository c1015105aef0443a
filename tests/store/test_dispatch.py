"""Dispatch: fair order, late binding, and stale tickets that eat nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from contracts.limits import BATCH_ITEMS_MAX
from contracts.states import State
from tests.store.world import Runner, World, ending, policy, spec


async def order_of(world: World) -> list[str]:
    """The jobs in the order in which they became ready."""
    entries = await world.redis("XRANGE", world.connection.keys.ready("default"), "-", "+")
    return [entry["j"].partition(":")[0] for _, entry in entries]


async def dispatched(world: World, count: int) -> list[str]:
    """What the next `count` free slots are given to: as many slots as that, all jobs claimed before."""
    keeper = await world.runner(slots=count)
    await world.store.timers.dispatch("default", most=BATCH_ITEMS_MAX)
    offers = (await keeper.cycle(free=count)).offers
    return [offer.job_id for offer in offers]


@pytest.mark.req("SCH-1", "SCH-7")
async def test_jobs_of_one_class_and_tenant_go_in_the_order_of_their_arrival(world: World) -> None:
    await world.pool()
    ids = await world.submit_many("job", 12)
    assert [await dispatched(world, 4) for _ in range(3)] == [ids[:4], ids[4:8], ids[8:]]


@pytest.mark.req("SCH-1")
@pytest.mark.parametrize("slots", [1, 18, 90])
async def test_classes_share_eight_to_one_however_many_slots_come_free_at_once(
    world: World, slots: int
) -> None:
    await world.pool()
    await world.submit_many("b", 90, priority="batch")
    await world.submit_many("i", 90, priority="interactive")
    found = [job_id[0] for _ in range(90 // slots) for job_id in await dispatched(world, slots)]
    for n in range(9, 91, 9):
        assert abs(found[:n].count("b") - n / 9) <= 1, "".join(found)


@pytest.mark.req("SCH-1")
async def test_tenants_of_a_class_alternate(world: World) -> None:
    await world.pool()
    await world.submit_many("a", 6, tenant="a")
    await world.submit_many("b", 3, tenant="b")
    await world.submit_many("c", 3, tenant="c")
    found = "".join(job_id[0] for job_id in await dispatched(world, 12))
    assert found == "abcabcabcaaa"


@pytest.mark.req("SCH-1")
async def test_a_tenant_that_comes_back_has_no_credit(world: World) -> None:
    await world.pool()
    await world.submit_many("a", 40, tenant="a")
    assert len(await dispatched(world, 16)) == 16
    await world.submit_many("b", 10, tenant="b")
    found = Counter(job_id[0] for job_id in await dispatched(world, 10))
    assert found == {"a": 5, "b": 5}


@pytest.mark.req("SCH-1")
async def test_a_tenant_that_rests_and_returns_gains_no_turn(world: World) -> None:
    await world.pool()
    await world.submit_many("a", 20, tenant="a")
    await world.submit_many("b", 2, tenant="b")
    first = "".join(job_id[0] for job_id in await dispatched(world, 4))
    await world.submit_many("c", 2, tenant="b")
    second = "".join(job_id[0] for job_id in await dispatched(world, 4))
    assert (first, second) == ("abab", "acac")


@pytest.mark.req("SCH-1")
async def test_a_class_that_comes_back_has_no_credit(world: World) -> None:
    await world.pool()
    await world.submit_many("b", 60, priority="batch")
    assert len(await dispatched(world, 40)) == 40
    await world.submit_many("i", 60, priority="interactive")
    found = Counter(job_id[0] for job_id in await dispatched(world, 18))
    assert abs(found["b"] - 2) <= 1


@pytest.mark.req("SCH-1")
async def test_strict_order_serves_a_low_class_only_when_the_high_ones_are_empty(
    world: World,
) -> None:
    world.policy = policy("high:1", "low:1000", scheduling="strict")
    await world.pool()
    await world.submit_many("l", 3, priority="low")
    await world.submit_many("h", 3, priority="high")
    assert "".join(job_id[0] for job_id in await dispatched(world, 6)) == "hhhlll"


@pytest.mark.req("SCH-1")
async def test_waiting_moves_a_class_forward(world: World) -> None:
    # A turn a millisecond: whoever waits is soon hundreds of turns ahead of any weight.
    world.policy = policy("interactive:1000", "batch:1", aging_ms=1)
    await world.pool()
    await world.submit_many("b", 5, priority="batch")
    since = await world.now_ms()
    while await world.now_ms() < since + 50:
        pass
    await world.submit_many("i", 5, priority="interactive")
    assert "".join(job_id[0] for job_id in await dispatched(world, 5)) == "bbbbb"


@pytest.mark.req("SCH-2")
@pytest.mark.first_answers
async def test_no_more_leaves_the_queue_than_slots_are_free(world: World) -> None:
    one, two = await world.runner(slots=2), await world.runner(slots=3)
    ids = await world.submit_many("job", 9)
    assert await order_of(world) == ids[:5]
    held = (await one.cycle()).offers
    assert await world.store.timers.dispatch("default", most=1_000) == 0
    await two.cycle()
    assert await one.end(ending("settle", held[0])) == ["ok"]
    assert await order_of(world) == ids[5:6]


@pytest.mark.req("SCH-2")
async def test_a_late_job_of_a_high_class_overtakes_under_full_load(world: World) -> None:
    runner = await world.runner(slots=1)
    await world.submit_many("b", 50, priority="batch")
    offer = await runner.claim_one()
    await world.submit("urgent", priority="interactive")
    cycled = await runner.cycle(ending("settle", offer))
    assert [one.job_id for one in cycled.offers] == ["urgent"]


@pytest.mark.req("SCH-2")
async def test_a_drained_runner_gives_no_room(world: World) -> None:
    runner = await world.runner(slots=0)
    await world.submit_many("job", 3)
    assert await order_of(world) == []
    assert await world.store.timers.dispatch("default", most=10) == 0
    assert (await runner.cycle(free=0)).offers == []


@pytest.mark.req("SCH-2")
@pytest.mark.first_answers
async def test_any_number_of_dispatchers_together_give_each_slot_once(world: World) -> None:
    await world.pool()
    ids = await world.submit_many("job", 20)
    await world.runner(slots=7)
    given = [await world.store.timers.dispatch("default", most=1_000) for _ in range(4)]
    assert (given, await order_of(world)) == ([7, 0, 0, 0], ids[:7])


@pytest.mark.req("SCH-7")
async def test_a_canceled_job_leaves_the_line_without_being_searched_for(world: World) -> None:
    await world.pool()
    ids = await world.submit_many("job", 5)
    for job_id in (ids[0], ids[2]):
        await world.store.steering.cancel(job_id, by="me")
    assert await dispatched(world, 5) == [ids[1], ids[3], ids[4]]


@pytest.mark.req("SCH-1")
async def test_canceled_jobs_use_up_no_turn_of_their_tenant(world: World) -> None:
    await world.pool()
    gone = await world.submit_many("x", 20, tenant="a")
    await world.submit_many("a", 10, tenant="a")
    for job_id in gone:
        await world.store.steering.cancel(job_id, by="me")
    await dispatched(world, 2)
    await world.submit_many("b", 10, tenant="b")
    found = Counter(job_id[0] for job_id in await dispatched(world, 8))
    assert abs(found["a"] - found["b"]) <= 2, found


@pytest.mark.req("SCH-7")
@pytest.mark.first_answers
async def test_five_thousand_canceled_jobs_in_the_way_are_stepped_over_in_bounded_bites(
    world: World,
) -> None:
    await world.pool()
    await world.submit("last")
    # As cancel and retire leave them: the jobs are gone, their entries stay in the line.
    line = f"{world.connection.keys.prefix}queue:default:batch:default"
    for n in range(5):
        await world.redis("LPUSH", line, *(f"gone{n}-{m}:1" for m in range(1_000)))
    await world.runner(slots=1)
    bites = 0
    while await order_of(world) == []:
        before = await world.redis("LLEN", line)
        await world.store.timers.dispatch("default", most=1)
        assert before - await world.redis("LLEN", line) <= BATCH_ITEMS_MAX + 1
        bites += 1
    assert (bites, await order_of(world)) == (5, ["last"])


async def with_stale_entries(world: World, count: int) -> None:
    """At the head of the line, as cancel and retire leave them: the jobs are gone."""
    line = f"{world.connection.keys.prefix}queue:default:batch:default"
    await world.redis("LPUSH", line, *(f"gone-{n}:1" for n in range(count)))


async def tokens(world: World) -> int:
    """How often somebody was called to claim."""
    length: int = await world.redis("XLEN", world.connection.keys.wake("default"))
    return length


@pytest.mark.req("SCH-7")
@pytest.mark.first_answers
async def test_who_stops_among_stale_entries_calls_somebody_to_go_on_there(world: World) -> None:
    await world.pool()
    await world.submit("last")
    await with_stale_entries(world, BATCH_ITEMS_MAX + 500)
    runner = await world.runner(slots=1)
    assert ((await runner.cycle()).offers, await tokens(world)) == ([], 1)
    found = (await runner.cycle()).offers
    assert ([one.job_id for one in found], await tokens(world)) == (["last"], 1)


@pytest.mark.req("SCH-7")
@pytest.mark.first_answers
async def test_nobody_is_called_for_a_line_that_has_come_to_its_end(world: World) -> None:
    await world.pool()
    await world.submit("last")
    await with_stale_entries(world, BATCH_ITEMS_MAX + 500)
    await world.store.steering.cancel("last", by="me")
    runner = await world.runner(slots=1)
    found = [((await runner.cycle()).offers, await tokens(world)) for _ in range(3)]
    assert found == [([], 1), ([], 1), ([], 1)]


@pytest.mark.req("SCH-3")
async def test_a_job_that_is_paused_and_resumed_goes_to_the_end_under_a_new_ticket(
    world: World,
) -> None:
    await world.pool()
    ids = await world.submit_many("job", 3)
    await world.store.steering.pause(ids[0], by="me")
    await world.store.steering.resume(ids[0], by="me")
    assert await dispatched(world, 3) == [ids[1], ids[2], ids[0]]


async def drain(world: World, runner: Runner) -> None:
    """The runner keeps what it runs and takes nothing new."""
    runner.slots = 0
    store = world.store
    about = (await store.leases.instances())[runner.runner_id]
    await store.connection.call("register", runner.runner_id, "runner", "{}", about["pool"], 0, 0)


@pytest.mark.req("SCH-4")
@pytest.mark.first_answers
async def test_dispatched_jobs_whose_slot_is_gone_return_in_order_and_use_no_attempt(
    world: World,
) -> None:
    runner, other = await world.runner(slots=3), await world.runner(slots=1)
    ids = await world.submit_many("job", 6)
    await drain(world, runner)
    before = await world.contents()
    assert await world.store.timers.unready("nobody", most=10) == 0
    assert await world.contents() == before
    assert await world.store.timers.unready("default", most=2) == 2
    assert await world.store.timers.unready("default", most=10) == 1
    assert await order_of(world) == ids[:1]
    assert await world.states(ids) == [State.READY] + [State.QUEUED] * 5
    assert [offer.job_id for offer in (await other.cycle()).offers] == ids[:1]
    assert await dispatched(world, 5) == ids[1:]
    assert (await world.fields(ids[1]))["attempt"] == "1"
    assert await world.story(ids[1]) == ["admit", "dispatch", "unready", "dispatch", "claim"]


@pytest.mark.req("SCH-4")
@pytest.mark.first_answers
async def test_a_canceled_job_in_ready_is_taken_back_without_harm(world: World) -> None:
    runner = await world.runner(slots=2)
    ids = await world.submit_many("job", 2)
    await world.store.steering.cancel(ids[1], by="me")
    await drain(world, runner)
    assert await world.store.timers.unready("default", most=10) == 1
    assert await world.states(ids) == [State.QUEUED, State.CANCELED]


@pytest.mark.req("SCH-2")
async def test_every_idle_runner_gets_a_token_and_no_more(world: World) -> None:
    for _ in range(3):
        await world.runner(slots=4)
    await world.submit_many("job", 8)
    assert await world.redis("XLEN", world.connection.keys.wake("default")) == 3


@pytest.mark.req("SCH-7")
@pytest.mark.first_answers
async def test_the_same_submissions_give_the_same_order(world: World) -> None:
    orders = []
    for _ in range(2):
        await world.redis("FLUSHALL")
        await world.redis("HSET", world.connection.keys.meta, "incarnation", 1)
        await world.pool()
        for n in range(30):
            tenant, priority = "abc"[n % 3], ("batch", "interactive")[n % 4 == 0]
            await world.ask(spec(id=f"job{n}", tenant=tenant, priority=priority))
        orders.append([await dispatched(world, n) for n in (1, 7, 3, 19)])
    assert orders[0] == orders[1]
    assert len({job_id for turn in orders[0] for job_id in turn}) == 30
