"""Drain: claims stop, what runs ends in peace, neighbours go on; and what a pool shows of it (CTL-3)."""

from __future__ import annotations

import json

import pytest

from contracts.commands import CommandStatus
from contracts.errors import ErrorCode, Refused
from contracts.states import State
from orch.store.leases import Instance
from tests.store.commanding import acknowledge, given
from tests.store.world import Runner, World, ending


@pytest.mark.req("CTL-3")
@pytest.mark.first_answers
async def test_a_drained_pool_claims_nothing_and_its_neighbour_goes_on(world: World) -> None:
    runner, other = await world.runner(slots=2), await world.runner(slots=1, pool="other")
    await given(world, "drain", "pool:default")
    await world.submit("job")
    await world.submit("elsewhere", pool="other")
    assert (await runner.cycle()).offers == []
    assert await world.state("job") is State.QUEUED, "intake stays open"
    assert (await other.claim_one()).job_id == "elsewhere"
    await given(world, "undrain", "pool:default", "c2")
    assert (await runner.claim_one()).job_id == "job"


@pytest.mark.req("CTL-3")
@pytest.mark.first_answers
async def test_a_drained_runner_claims_nothing_and_its_neighbour_takes_the_work(
    world: World,
) -> None:
    one, two = await world.runner(slots=1), await world.runner(slots=1)
    await given(world, "drain", f"runner:{one.runner_id}")
    await world.submit_many("job", 2)
    assert (await one.cycle()).offers == []
    assert len((await two.cycle()).offers) == 1
    assert (await one.cycle()).offers == []
    assert await world.state("job0001") is State.QUEUED, "no slot is counted that nobody gives"


@pytest.mark.req("CTL-3")
@pytest.mark.first_answers
async def test_what_was_dispatched_before_the_drain_goes_back_to_its_line(world: World) -> None:
    runner = await world.runner(slots=2)
    ids = await world.submit_many("job", 2)
    assert await world.states(ids) == [State.READY, State.READY]
    await given(world, "drain", "pool:default")
    assert (await runner.cycle()).offers == []
    assert await world.store.timers.unready("default", most=9) == 2
    assert await world.states(ids) == [State.QUEUED, State.QUEUED]
    await given(world, "undrain", "pool:default", "c2")
    assert [one.job_id for one in (await runner.cycle()).offers] == ids, "in the order they had"


@pytest.mark.req("CTL-3")
async def test_what_runs_may_finish_and_the_record_says_how_it_ended(world: World) -> None:
    runner, offer = await world.running("job")
    record = await given(world, "drain", "*", deadline_ms=60_000)
    assert (record.status, record.expected) == (CommandStatus.APPLIED, [runner.runner_id])
    wanted = await world.store.control.wanted(pool="default", instance_id=runner.runner_id)
    assert wanted.revision == 1
    left_ms = wanted.drains["c1"]
    assert left_ms is not None
    assert 0 < left_ms <= 60_000
    await acknowledge(world, runner, 1)
    record = await world.store.control.command("c1")
    assert (record.acked, record.waiting) == ([runner.runner_id], [runner.runner_id]), "it works on"
    await runner.end(ending("settle", offer))
    assert await world.state("job") is State.COMPLETED
    await acknowledge(world, runner, 1, command_id="c1", force_stopped=0, left=0)
    record = await world.store.control.command("c1")
    assert (record.status, record.waiting) == (CommandStatus.DONE, [])
    assert record.outcome is not None
    assert record.outcome["force_stopped"] == record.outcome["left"] == 0
    assert record.outcome["duration_ms"] >= 0


@pytest.mark.req("CTL-3")
async def test_two_runners_reports_are_added_up(world: World) -> None:
    one, two = await world.runner(), await world.runner()
    await given(world, "drain", "pool:default")
    await acknowledge(world, one, 1, command_id="c1", force_stopped=2, left=1)
    assert (await world.store.control.command("c1")).status is CommandStatus.APPLIED
    await acknowledge(world, two, 1, command_id="c1", force_stopped=3, left=0)
    outcome = (await world.store.control.command("c1")).outcome
    assert outcome is not None
    assert (outcome["force_stopped"], outcome["left"]) == (5, 1)


@pytest.mark.req("CTL-3")
async def test_an_undrain_closes_the_drain_that_it_ends(world: World) -> None:
    runner, _ = await world.running("job")
    await given(world, "drain", "pool:default")
    await given(world, "undrain", "pool:default", "c2")
    record = await world.store.control.command("c1")
    assert record.status is CommandStatus.DONE
    assert record.outcome is not None
    assert record.outcome["withdrawn"] is True
    before = await world.contents()
    await acknowledge(world, runner, 1, command_id="c1", force_stopped=9, left=9)
    changed = {
        name for name, value in (await world.contents()).items() if before.get(name) != value
    }
    assert not any(":command:c1" in name for name in changed), "a late report changes nothing"


@pytest.mark.req("API-1", "CTL-3")
async def test_the_health_of_a_pool_says_what_stands_in_it(world: World) -> None:
    runner, _ = await world.running("job")
    await world.submit_many("next", 3)
    pools = world.store.pools
    health = await pools.health("default")
    assert (health.live, health.ready, health.draining) == (True, True, False)
    assert (health.slots, health.free, health.queued, health.running) == (1, 0, 3, 1)
    assert health.oldest_age_ms is not None
    assert [one.runner for one in health.runners] == [runner.runner_id]
    assert await pools.workload("default") == 4
    await given(world, "drain", "pool:default")
    health = await pools.health("default")
    assert (health.live, health.ready, health.draining) == (True, False, True)
    assert (await pools.pools()).pools[0].status == "draining"
    assert (await pools.replica_sets()).replicasets[0].ready is False
    with pytest.raises(Refused) as refused:
        await pools.health("typo")
    assert refused.value.code is ErrorCode.NOT_FOUND


@pytest.mark.req("API-6")
@pytest.mark.first_answers
async def test_runners_that_are_equal_are_one_replica_set(world: World) -> None:
    for name, version in (("r1", "1"), ("r2", "1"), ("r3", "2")):
        about = {"version": version, "capabilities": ["gpu"]}
        await world.store.leases.register(Instance(name, "runner", about, "default", 2))
    await world.submit("job")
    runner = Runner(world.store, "r1", "default", 2)
    await runner.claim_one()
    found = (await world.store.pools.replica_sets()).replicasets
    assert [(one.version, one.slots_total, one.slots_free, one.load) for one in found] == [
        ("1", 4, 3, 0.25),
        ("2", 2, 2, 0.0),
    ]
    assert json.loads(found[0].model_dump_json())["capabilities"] == ["gpu"]
