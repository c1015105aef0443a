"""Who lives: registration, beats, leaving, and burial by comparison of the beat."""

from __future__ import annotations

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.states import State
from orch.store.leases import Burial, Instance
from tests.store.world import Runner, World, ending


async def bury(world: World, instance_id: str, *, most: int = 1_000) -> Burial:
    """Buries an instance whose beat did not move since it was read."""
    counter = (await world.store.leases.beats()).get(instance_id, 1)
    return await world.store.leases.bury(instance_id, counter, age_ms=15_000, most=most)


async def reader(world: World, role: str, instance_id: str, stream: str) -> None:
    """An instance that lives from a stream, with one entry read and not settled."""
    await world.store.leases.register(Instance(instance_id, role, {}))  # type: ignore[arg-type]  # a parameter of the test
    await world.redis("XADD", stream, "*", "n", "1", "m", "2")
    await world.redis("XADD", stream, "*", "n", "3")
    await world.redis("XREADGROUP", "GROUP", role, instance_id, "COUNT", 1, "STREAMS", stream, ">")


@pytest.mark.req("LSE-3", "LSE-6")
@pytest.mark.first_answers
async def test_a_beat_moves_the_counter_and_never_makes_an_instance_live(world: World) -> None:
    runner = await world.runner()
    leases = world.store.leases
    first = (await leases.beats())[runner.runner_id]
    assert [await leases.beat(runner.runner_id) for _ in range(2)] == [True, True]
    assert await leases.beats() == {runner.runner_id: first + 2}
    before = await world.contents()
    with pytest.raises(Refused) as refused:
        await leases.beat("nobody")
    assert refused.value.code is ErrorCode.LEASE_OVER
    assert await world.contents() == before


@pytest.mark.req("LSE-3")
@pytest.mark.first_answers
async def test_registering_again_changes_the_slots_and_keeps_the_beat(world: World) -> None:
    runner = await world.runner(slots=4)
    await world.store.leases.beat(runner.runner_id)
    beats = await world.store.leases.beats()
    about = {"lease_ms": 15_000, "host": "h"}
    await world.store.leases.register(Instance(runner.runner_id, "runner", about, "default", 2))
    assert await world.store.leases.beats() == beats
    assert await world.redis("HGETALL", world.connection.keys.slots("default")) == {
        runner.runner_id: "2"
    }
    assert (await world.store.leases.instances())[runner.runner_id]["slots"] == 2
    assert await world.store.timers.pools() == ["default"]


@pytest.mark.req("LSE-6", "REA-1")
async def test_a_beat_between_the_look_and_the_burial_saves_its_runner(world: World) -> None:
    runner, _ = await world.running("job")
    seen = (await world.store.leases.beats())[runner.runner_id]
    await world.store.leases.beat(runner.runner_id)
    before = await world.contents()
    assert await world.store.leases.bury(runner.runner_id, seen, age_ms=1, most=10) == Burial(
        done=False
    )
    assert await world.contents() == before


@pytest.mark.req("REA-2", "FBK-6")
@pytest.mark.first_answers
async def test_burial_frees_every_held_job_as_lost(world: World) -> None:
    runner = await world.runner(slots=3)
    ids = await world.submit_many("job", 3)
    offers = (await runner.cycle()).offers
    assert await bury(world, runner.runner_id) == Burial(done=True, freed=3, left=0)
    for job_id, offer in zip(ids, offers, strict=True):
        assert (await world.story(job_id))[-2:] == ["stale_recovered", "bury"]
        stale = (await world.ledger(job_id))[-2]
        assert stale.payload == {
            "from": "running", "to": "running", "worker": runner.runner_id,
            "epoch": offer.epoch, "age_ms": 15_000,
        }  # fmt: skip
        record = await world.store.reading.job(job_id)
        assert (record.state, record.attempts[0].outcome, record.lease) == (
            State.RUNNING,
            "lost",
            None,
        )
        assert (await world.undecided(job_id)).crashes == 0
    left = [name for name in await world.contents() if runner.runner_id in name]
    assert (left, await world.store.leases.instances()) == ([], {})
    before = await world.contents()
    assert await bury(world, runner.runner_id) == Burial(done=False)
    assert await world.contents() == before


@pytest.mark.req("REA-1", "SCH-4")
@pytest.mark.first_answers
async def test_burial_is_bounded_and_a_half_buried_runner_gives_no_slots(world: World) -> None:
    runner = await world.runner(slots=10)
    ids = await world.submit_many("job", 6)
    await runner.cycle(free=6)
    assert await bury(world, runner.runner_id, most=4) == Burial(done=True, freed=4, left=2)
    with pytest.raises(Refused):
        await runner.cycle()
    await world.submit("waits")
    assert await world.state("waits") is State.QUEUED
    assert await bury(world, runner.runner_id, most=4) == Burial(done=True, freed=2, left=0)
    assert await world.redis("ZCARD", world.connection.keys.undecided) == len(ids)


@pytest.mark.req("LSE-2", "REA-2")
async def test_the_late_result_of_a_buried_runner_is_kept_as_an_orphan(world: World) -> None:
    runner, offer = await world.running("job")
    await bury(world, runner.runner_id)
    again = Runner(world.store, "runner-9", "default", 1)
    await world.store.leases.register(Instance("runner-9", "runner", {}, "default", 1))
    assert await again.end(ending("settle", offer)) == ["over"]
    assert (await world.story("job"))[-1] == "orphaned_result"
    assert await world.state("job") is State.RUNNING


@pytest.mark.req("REA-2")
@pytest.mark.first_answers
async def test_a_job_canceled_under_a_runner_that_dies_stays_canceled(world: World) -> None:
    runner, _ = await world.running("job")
    await world.store.steering.cancel("job", by="me")
    before = await world.fields("job")
    assert await bury(world, runner.runner_id) == Burial(done=True, freed=1, left=0)
    assert await world.fields("job") == before


@pytest.mark.req("REA-1")
@pytest.mark.parametrize(("role", "stream"), [("admission", "requests"), ("fallback", "outcomes")])
@pytest.mark.first_answers
async def test_what_a_dead_reader_had_not_settled_is_handed_on(
    world: World, role: str, stream: str
) -> None:
    name = world.connection.keys.prefix + stream
    await reader(world, role, "dead", name)
    assert await bury(world, "dead") == Burial(done=True)
    await world.store.leases.register(Instance("alive", role, {}))  # type: ignore[arg-type]  # a parameter of the test
    found = await world.redis("XREADGROUP", "GROUP", role, "alive", "STREAMS", name, ">")
    entries = found[name] if isinstance(found, dict) else found[0][1]
    flat = entries[0] if entries and isinstance(entries[0], list) else entries
    assert [fields for _, fields in flat] == [{"n": "3"}, {"n": "1", "m": "2"}]
    groups = await world.redis("XINFO", "CONSUMERS", name, role)
    names = [one["name"] if isinstance(one, dict) else one[1] for one in groups]
    assert names == ["alive"]


@pytest.mark.req("REA-3")
@pytest.mark.parametrize("role", ["runner", "fallback", "admission"])
@pytest.mark.first_answers
async def test_an_instance_is_buried_even_when_its_streams_were_lost_and_begun_anew(
    world: World, role: str
) -> None:
    keys = world.connection.keys
    pool = "default" if role == "runner" else ""
    await world.store.leases.register(Instance("dead", role, {}, pool, 1))  # type: ignore[arg-type]  # a parameter of the test
    streams = (keys.ready("default"), keys.wake("default"), keys.outcomes, keys.requests)
    await world.redis("DEL", *streams)
    if role == "runner":
        await world.redis("XADD", keys.ready("default"), "*", "j", "gone:1")
    for stream in streams[2:]:
        await world.redis("XADD", stream, "*", "n", "1")
    assert await bury(world, "dead") == Burial(done=True)
    assert await world.store.leases.instances() == {}


@pytest.mark.req("RUN-6")
async def test_an_instance_that_holds_nothing_leaves_without_a_trace(world: World) -> None:
    runner = await world.runner()
    assert await world.store.leases.leave(runner.runner_id) == 0
    assert [name for name in await world.contents() if runner.runner_id in name] == []
    assert await world.store.leases.beats() == {}
    before = await world.contents()
    assert await world.store.leases.leave(runner.runner_id) == 0
    assert await world.contents() == before


@pytest.mark.req("RUN-6")
@pytest.mark.first_answers
async def test_a_runner_that_holds_jobs_cannot_leave(world: World) -> None:
    runner, offer = await world.running("job")
    before = await world.contents()
    assert await world.store.leases.leave(runner.runner_id) == 1
    assert await world.contents() == before
    await runner.end(ending("handback", offer))
    assert await world.store.leases.leave(runner.runner_id) == 0
    assert await world.store.timers.unready("default", most=10) == 1
    assert await world.state("job") is State.QUEUED


@pytest.mark.req("LSE-2", "EVT-5")
@pytest.mark.drives("lease_lost", "stale_recovered")
async def test_a_runner_that_learns_of_its_burial_says_so_once_on_the_ledger(world: World) -> None:
    runner, offer = await world.running("job")
    await world.bury(runner, age_ms=15_000)
    heir = await world.runner()
    late = ending("handback", offer)
    assert await heir.end(late, late) == ["over", "over"]
    assert (await world.story("job"))[-3:] == ["stale_recovered", "bury", "lease_lost"]
    event = (await world.ledger("job"))[-1]
    assert (event.type, event.payload) == ("lease_lost", {"claim": offer.claim})


@pytest.mark.req("LSE-6")
async def test_a_new_life_never_begins_with_a_count_that_was_seen_before(world: World) -> None:
    reaper = Instance("a-reaper", "reaper", {"lease_ms": 15_000})
    await world.store.leases.register(reaper)
    seen = await world.store.leases.beats()
    await bury(world, "a-reaper")
    await world.wait_a_ms()
    await world.store.leases.register(reaper)
    assert (await world.store.leases.beats())["a-reaper"] not in seen.values()
