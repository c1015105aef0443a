"""`explain` names what holds a queued job back: key, session, tenant, pause, drain, no runner."""

from __future__ import annotations

import pytest

from contracts.record import Explanation
from tests.store.world import World, policy, spec


async def explained(world: World, job_id: str = "job") -> Explanation:
    return await world.store.reading.explain(job_id)


@pytest.mark.req("SCH-4", "CLI-3")
async def test_a_job_behind_a_key_is_told_who_has_it(world: World) -> None:
    await world.runner(slots=3)
    await world.submit("first", concurrency_key="repo")
    await world.submit("job", concurrency_key="repo")
    why = await explained(world)
    assert why.reason == "concurrency key repo is taken by first (1 at once)"
    assert (why.facts["aside"], list(why.facts["aside_for"])) == ("k:repo", ["first"])
    assert (await world.store.reading.job("job")).concurrency_key == "repo"


@pytest.mark.req("SCH-4")
async def test_a_job_behind_its_session_is_told_who_has_it_and_its_place(world: World) -> None:
    await world.pool()
    await world.ask(*(spec(id=one, session="chat") for one in ("first", "second", "job")))
    why = await explained(world)
    assert why.reason == "it waits for its turn in session chat: first has it"
    assert why.facts["queue_position"] == 1
    assert "orch session show chat" in why.unblocks


@pytest.mark.req("SCH-4")
async def test_a_job_of_a_tenant_at_its_limit_is_told_the_limit(world: World) -> None:
    world.policy = policy(tenant_running_max=1)
    await world.runner(slots=3)
    await world.submit("first", tenant="a")
    await world.submit("job", tenant="a")
    why = await explained(world)
    assert why.reason == "tenant a runs 1 jobs, its limit is 1"
    assert (why.facts["tenant_running"], why.facts["tenant_running_max"]) == (1, 1)


@pytest.mark.req("CTL-1")
@pytest.mark.parametrize("scope", ["*", "pool:default", "queue:default:batch", "tenant:default"])
async def test_paused_dispatch_is_named_by_its_scope(world: World, scope: str) -> None:
    await world.runner(slots=3)
    await world.wish(**{f"{scope}:dispatch".replace(":", "__"): "paused"})
    await world.submit("job")
    why = await explained(world)
    assert why.reason == f"dispatch is paused for {scope}"
    assert list(why.facts["paused"]) == [scope]


@pytest.mark.req("CTL-3")
async def test_a_drained_pool_and_drained_runners_are_named(world: World) -> None:
    runner = await world.runner(slots=3)
    await world.wish(**{f"runner__{runner.runner_id}__drain": "c1"})
    await world.submit("job")
    assert (await explained(world)).reason == "all runners of pool default are drained"
    for scope in ("pool:default", "*"):
        await world.wish(**{f"{scope}:drain".replace(":", "__"): "c2"})
        assert (await explained(world)).reason == "pool default is drained"
        await world.unwish(f"{scope}:drain")


@pytest.mark.req("CTL-3")
async def test_the_slots_of_a_drained_runner_are_none_that_are_free(world: World) -> None:
    busy, drained = await world.runner(slots=1), await world.runner(slots=3)
    await world.wish(**{f"runner__{drained.runner_id}__drain": "c1"})
    await world.submit("first")
    await busy.claim_one()
    await world.submit("job")
    assert (await explained(world)).reason == "all 1 slots of pool default are busy"


@pytest.mark.req("SCH-4")
async def test_no_runner_at_all_is_named(world: World) -> None:
    await world.pool()
    await world.submit("job", concurrency_key="repo")
    assert (await explained(world)).reason == "no runner serves pool default"
