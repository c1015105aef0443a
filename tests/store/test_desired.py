"""What operators wish, as dispatch and claim obey it: paused dispatch of every scope, drains."""

from __future__ import annotations

import pytest

from contracts.states import State
from tests.store.world import World, ending

WAITS, READY = State.QUEUED, State.READY


@pytest.mark.req("CTL-1")
@pytest.mark.parametrize(
    "field", ["*:dispatch", "pool:default:dispatch", "queue:default:batch:dispatch"]
)
async def test_nothing_leaves_the_line_while_dispatch_is_paused(world: World, field: str) -> None:
    runner = await world.runner(slots=2)
    await world.wish(**{field.replace(":", "__"): "paused"})
    await world.submit("job")
    assert (await runner.cycle()).offers == []
    assert await world.state("job") is WAITS
    await world.unwish(field)
    await world.store.timers.dispatch("default", most=10)
    assert await world.state("job") is READY


@pytest.mark.req("CTL-1")
async def test_a_paused_class_lets_the_others_go(world: World) -> None:
    runner = await world.runner(slots=2)
    await world.wish(queue__default__interactive__dispatch="paused")
    await world.submit("high", priority="interactive")
    await world.submit("low", priority="batch")
    assert [offer.job_id for offer in (await runner.cycle()).offers] == ["low"]


@pytest.mark.req("CTL-1")
async def test_a_paused_tenant_lets_the_others_go(world: World) -> None:
    runner = await world.runner(slots=2)
    await world.wish(tenant__a__dispatch="paused")
    await world.submit("a", tenant="a")
    await world.submit("b", tenant="b")
    assert [offer.job_id for offer in (await runner.cycle()).offers] == ["b"]


@pytest.mark.req("CTL-3")
@pytest.mark.first_answers
async def test_a_drained_pool_claims_nothing_and_gives_back_what_is_ready(world: World) -> None:
    runner, offer = await world.running("runs")
    more = await world.runner(slots=2)
    await world.submit("ready")
    assert await world.state("ready") is READY
    await world.wish(pool__default__drain="c1")
    assert (await more.cycle()).offers == []
    assert await world.store.timers.unready("default", most=10) == 1
    await world.submit("new")
    assert await world.states(["ready", "new"]) == [WAITS, WAITS]
    assert await runner.end(ending("settle", offer)) == ["ok"]
    await world.unwish("pool:default:drain")
    assert [one.job_id for one in (await more.cycle()).offers] == ["ready", "new"]


@pytest.mark.req("CTL-3")
async def test_drain_of_one_pool_leaves_others_alone(world: World) -> None:
    runner = await world.runner(slots=1, pool="other")
    await world.runner(slots=1)
    await world.wish(pool__default__drain="c1")
    await world.submit("job", pool="other")
    assert [offer.job_id for offer in (await runner.cycle()).offers] == ["job"]


@pytest.mark.req("CTL-3")
async def test_a_drained_runner_claims_nothing_and_its_slots_do_not_count(world: World) -> None:
    one, two = await world.runner(slots=2), await world.runner(slots=1)
    await world.wish(**{f"runner__{one.runner_id}__drain": "c1"})
    ids = await world.submit_many("job", 3)
    assert await world.states(ids) == [READY, WAITS, WAITS]
    assert (await one.cycle()).offers == []
    assert [offer.job_id for offer in (await two.cycle()).offers] == ids[:1]
