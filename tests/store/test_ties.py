"""Concurrency keys and tenants' limits: never more than the limit, nobody forgotten, nobody blocked."""

from __future__ import annotations

import pytest

from contracts.limits import BATCH_ITEMS_MAX
from contracts.states import State
from tests.store.engines import IN_MEMORY
from tests.store.world import HOUR_MS, Runner, World, ending, policy

WAITS, READY, RUNS = State.QUEUED, State.READY, State.RUNNING


async def claimed(runner: Runner, *, free: int | None = None) -> list[str]:
    return [offer.job_id for offer in (await runner.cycle(free=free)).offers]


@pytest.mark.req("SCH-4", "ADM-4")
async def test_jobs_of_a_key_run_one_at_a_time_and_others_go_past_them(world: World) -> None:
    runner = await world.runner(slots=4)
    await world.submit_many("k", 3, concurrency_key="repo")
    await world.submit_many("free", 2)
    assert await claimed(runner) == ["k0000", "free0000", "free0001"]
    assert await world.states(["k0001", "k0002"]) == [WAITS, WAITS]


@pytest.mark.req("SCH-4")
async def test_who_stands_aside_goes_on_in_the_call_that_frees_the_key(world: World) -> None:
    runner = await world.runner(slots=4)
    ids = await world.submit_many("k", 3, concurrency_key="repo")
    order, offers = [], list((await runner.cycle()).offers)
    while offers:
        (offer,) = offers
        order.append(offer.job_id)
        offers = list((await runner.cycle(ending("settle", offer))).offers)
    assert order == ids


@pytest.mark.req("SCH-4")
async def test_the_limit_of_a_key_is_the_settings_or_the_operators(world: World) -> None:
    world.policy = policy(key_running_max=2)
    runner = await world.runner(slots=9)
    await world.submit_many("k", 5, concurrency_key="repo")
    await world.wish(key__default__other__running_max=3)
    await world.submit_many("o", 5, concurrency_key="other")
    found = await claimed(runner)
    assert sorted(found) == ["k0000", "k0001", "o0000", "o0001", "o0002"]


@pytest.mark.req("SCH-4")
async def test_keys_of_two_tenants_are_two_keys(world: World) -> None:
    runner = await world.runner(slots=4)
    await world.submit("a", concurrency_key="repo", tenant="a")
    await world.submit("b", concurrency_key="repo", tenant="b")
    assert sorted(await claimed(runner)) == ["a", "b"]


@pytest.mark.req("SCH-4")
async def test_a_key_freed_in_one_pool_dispatches_another_in_the_same_call(world: World) -> None:
    here, there = (
        await world.runner(slots=1, pool="here"),
        await world.runner(slots=1, pool="there"),
    )
    await world.submit("one", concurrency_key="repo", pool="here")
    (offer,) = (await here.cycle()).offers
    await world.submit("two", concurrency_key="repo", pool="there")
    assert await world.state("two") is WAITS
    await here.end(ending("settle", offer))
    assert await world.state("two") is READY
    assert await claimed(there) == ["two"]


ENDS = (
    "settle",
    "ask",
    "cancel",
    "cancel_ready",
    "pause_ready",
    "expire",
    "fail",
    "backoff",
    "stop",
)


@pytest.mark.req("SCH-4")
@pytest.mark.parametrize("how", ENDS)
async def test_every_way_to_end_or_leave_frees_the_key(world: World, how: str) -> None:
    runner = await world.runner(slots=3)
    deadline = await world.now_ms() + HOUR_MS
    await world.submit("one", concurrency_key="repo", deadline_ms=deadline)
    await world.submit("two", concurrency_key="repo")
    steering = world.store.steering
    if how == "cancel_ready":
        await steering.cancel("one", by="me")
    elif how == "pause_ready":
        await steering.pause("one", by="me")
    else:
        (offer,) = (await runner.cycle(free=1)).offers
        if how in {"settle", "ask"}:
            await runner.end(ending(how, offer))  # type: ignore[arg-type]  # a verb by name
        elif how == "cancel":
            await steering.cancel("one", by="me")
        elif how == "expire":
            await world.redis("ZADD", world.connection.keys.due, 1, "deadline:one:0")
            await world.store.timers.due(most=10)
        elif how == "stop":
            await steering.pause("one", by="me")
            await runner.end(ending("stop", offer))
        else:
            await runner.end(ending("release", offer))
            assert await world.state("two") is WAITS
            await world.decide("one", how)
    assert await world.state("two") in {READY, RUNS}


@pytest.mark.req("SCH-4")
async def test_a_job_that_loses_its_runner_keeps_its_key_for_the_next_attempt(world: World) -> None:
    runner = await world.runner(slots=1)
    await world.submit_many("k", 2, concurrency_key="repo")
    await runner.claim_one()
    await world.bury(runner)
    heir = await world.runner(slots=2)
    assert await claimed(heir) == []
    await world.decide("k0000", "retry")
    assert await claimed(heir) == ["k0000"]


@pytest.mark.req("SCH-2", "SCH-4")
async def test_a_late_job_of_a_high_class_takes_a_key_that_low_ones_wait_for_in_line(
    world: World,
) -> None:
    runner = await world.runner(slots=1)
    await world.submit("busy")
    offer = await runner.claim_one()
    await world.submit_many("b", 2, priority="batch", concurrency_key="repo")
    await world.submit("late", priority="interactive", concurrency_key="repo")
    await runner.end(ending("settle", offer))
    assert await claimed(runner) == ["late"]


@pytest.mark.req("SIM-4")
@pytest.mark.first_answers  # a repeated call costs commands again
async def test_cancel_of_a_job_that_stands_aside_costs_the_same_however_many_do(
    world: World, engine: str
) -> None:
    if engine in IN_MEMORY:
        pytest.skip("commands are counted on real servers")
    runner = await world.runner(slots=2 * BATCH_ITEMS_MAX)
    costs = []
    for round_, count in enumerate((10, 900)):
        ids = await world.submit_many(f"r{round_}-", count, concurrency_key=f"key{round_}")
        await runner.cycle(free=0)
        aside = world.connection.keys.aside("default", f"k:key{round_}")
        assert await world.redis("LLEN", aside) == count - 1
        costs.append(await commands_of_cancel(world, ids[count // 2]))
    assert costs[0] == costs[1]


async def commands_of_cancel(world: World, job_id: str) -> int:
    async def calls() -> int:
        stats = await world.redis("INFO", "commandstats")
        return sum(int(one["calls"]) for name, one in stats.items() if name != "cmdstat_info")

    before = await calls()
    await world.store.steering.cancel(job_id, by="me")
    return await calls() - before


@pytest.mark.req("SCH-4")
async def test_thousands_that_were_canceled_aside_block_no_call_and_hide_nobody(
    world: World,
) -> None:
    runner = await world.runner(slots=2 * BATCH_ITEMS_MAX)
    await world.submit("first", concurrency_key="repo")
    (offer,) = (await runner.cycle(free=1)).offers
    gone = await world.submit_many("gone", BATCH_ITEMS_MAX + 200, concurrency_key="repo")
    await world.submit("last", concurrency_key="repo")
    await runner.cycle(free=0)
    for job_id in gone:
        await world.redis("HSET", world.connection.keys.job(job_id), "ticket", "99")
    await runner.end(ending("settle", offer))
    assert await world.state("last") is WAITS
    for job_id in gone:
        await world.redis("HSET", world.connection.keys.job(job_id), "ticket", "1")
        await world.store.steering.cancel(job_id, by="me")
    await world.store.timers.dispatch("default", most=10)
    assert await world.state("last") is READY


# -- tenants


@pytest.mark.req("SCH-4", "ADM-4")
async def test_a_tenant_at_its_limit_is_out_of_the_turns_until_one_of_its_jobs_ends(
    world: World,
) -> None:
    world.policy = policy(tenant_running_max=2)
    runner = await world.runner(slots=9)
    await world.submit_many("a", 5, tenant="a")
    await world.submit_many("b", 1, tenant="b")
    offers = {offer.job_id: offer for offer in (await runner.cycle()).offers}
    assert sorted(offers) == ["a0000", "a0001", "b0000"]
    assert await claimed(runner) == []
    (more,) = (await runner.cycle(ending("settle", offers["a0001"]))).offers
    assert more.job_id == "a0002"


@pytest.mark.req("SCH-4")
async def test_a_tenant_at_its_limit_in_one_pool_goes_on_in_another_when_a_job_ends(
    world: World,
) -> None:
    world.policy = policy(tenant_running_max=1)
    here, there = (
        await world.runner(slots=2, pool="here"),
        await world.runner(slots=2, pool="there"),
    )
    await world.submit("one", pool="here")
    (offer,) = (await here.cycle()).offers
    await world.submit("two", pool="there")
    assert await claimed(there) == []
    await here.end(ending("settle", offer))
    assert await claimed(there) == ["two"]


@pytest.mark.req("SCH-4")
@pytest.mark.parametrize("how", ["retry", "handback"])
async def test_a_job_that_waits_again_does_not_count_against_its_tenant(
    world: World, how: str
) -> None:
    world.policy = policy(tenant_running_max=1)
    runner, offer = await world.running("job")
    await runner.end(ending("release" if how == "retry" else "handback", offer))
    if how == "retry":
        await world.decide("job", "retry")
    assert await claimed(runner) == ["job"]


@pytest.mark.req("SCH-4")
async def test_an_operators_limit_of_a_tenant_goes_before_the_settings(world: World) -> None:
    world.policy = policy(tenant_running_max=1)
    await world.wish(tenant__a__running_max=3, tenant__b__running_max=0)
    runner = await world.runner(slots=20)
    for tenant in "abc":
        await world.submit_many(tenant, 5, tenant=tenant)
    found = await claimed(runner)
    assert {tenant: sum(one[0] == tenant for one in found) for tenant in "abc"} == {
        "a": 3,
        "b": 5,
        "c": 1,
    }


@pytest.mark.req("SCH-1")
@pytest.mark.parametrize("slots", [1, 40])
async def test_tenants_share_by_their_weights(world: World, slots: int) -> None:
    await world.wish(tenant__a__weight=3)
    await world.pool()
    for tenant in "ab":
        await world.submit_many(tenant, 80, tenant=tenant)
    runner, found = await world.runner(slots=slots), ""
    while len(found) < 80:
        offers = (await runner.cycle(free=slots)).offers
        found += "".join(offer.job_id[0] for offer in offers)
        await runner.end(*(ending("settle", offer) for offer in offers))
    assert abs(found[:80].count("a") - 60) <= 2, found
