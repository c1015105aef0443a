"""A server that came back without claims: their runners have them again, nobody else gets the jobs first."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.limits import BURIED_MAX, RECALL_MS_MAX
from contracts.states import State
from orch.core.handover import Offer, Working
from orch.store.leases import Instance
from orch.store.library import SCHEMA
from tests.store.world import Runner, World, ending, started


def working(offer: Offer, **keys: Any) -> Working:
    told: dict[str, Any] = {"notes": 0, "progress": "", "claim": offer.claim, **keys}
    return Working(
        job_id=offer.job_id, epoch=offer.epoch, attempt=offer.attempt,
        claim=told["claim"], notes=told["notes"], progress=told["progress"],
    )  # fmt: skip


async def come_back(world: World) -> None:
    """As a client of the next incarnation finds it: every runner is asked what it runs."""
    seen = world.connection.watermark.incarnation
    reply = await world.hello(seen + 1, SCHEMA)
    world.connection.greeted(reply)


async def reclaim(world: World, runner: Runner, *claims: Working) -> list[bool]:
    return await world.store.claims.reclaim(runner.runner_id, runner.pool, claims)


async def cycled(runner: Runner, free: int = 1) -> list[str] | None:
    """Ids of the jobs it gets; None when it is asked to reclaim first."""
    runner.number += 1
    found = await runner.store.claims.cycle(
        runner.runner_id, runner.pool, number=runner.number, free=free, random="r", endings=[]
    )
    return None if found is None else [offer.job_id for offer in found.offers]


async def undone_claim(world: World) -> tuple[Runner, Offer]:
    """A runner works on a job that the server, back again, has in its queue."""
    await world.pool()
    await world.submit("job")
    before = await world.contents()
    runner = await world.runner()
    offer = await runner.claim_one()
    await world.go_back(before)
    await come_back(world)
    assert await world.state("job") is State.QUEUED
    return runner, offer


@pytest.mark.req("LSE-1", "LSE-2")
async def test_a_claim_that_was_undone_is_in_force_again_and_its_result_counts(
    world: World,
) -> None:
    runner, offer = await undone_claim(world)
    assert await reclaim(world, runner, working(offer)) == [True]
    fields = await world.fields("job")
    assert (fields["state"], fields["claim"], fields["attempt"]) == ("r", offer.claim, "1")
    assert await world.story("job") == ["admit", "reclaim"]
    await runner.end(ending("settle", offer))
    (attempt,) = (await world.store.reading.job("job")).attempts
    assert (attempt.epoch, attempt.outcome) == (offer.epoch, "done")


@pytest.mark.req("LSE-1")
async def test_the_same_again_changes_nothing(world: World) -> None:
    runner, offer = await undone_claim(world)
    assert await reclaim(world, runner, working(offer)) == [True]
    after = await world.contents()
    assert await reclaim(world, runner, working(offer)) == [True]
    assert await world.contents() == after


@pytest.mark.req("LSE-1")
async def test_nothing_is_given_out_until_every_runner_has_said_what_it_runs(world: World) -> None:
    runner, offer = await undone_claim(world)
    other = await world.runner(slots=2)
    assert await cycled(other, 2) == []
    assert await world.store.timers.dispatch("default", most=10) == 0
    assert await cycled(runner) is None
    assert await reclaim(world, runner, working(offer)) == [True]
    await world.submit("next")
    assert await cycled(other, 2) == ["next"]


@pytest.mark.req("LSE-1")
@pytest.mark.parametrize("end", ["bury", "too long"])
async def test_a_runner_that_never_answers_holds_nobody_up_for_ever(world: World, end: str) -> None:
    runner, _ = await undone_claim(world)
    other = await world.runner()
    assert await cycled(other) == []
    if end == "bury":
        beats = await world.store.leases.beats()
        await world.store.leases.bury(runner.runner_id, beats[runner.runner_id], age_ms=1, most=10)
    else:
        long_ago = await world.now_ms() - RECALL_MS_MAX - 1
        await world.redis("HSET", world.connection.keys.meta, "recalled_at", long_ago)
    assert await cycled(other) == ["job"]


@pytest.mark.req("LSE-2")
async def test_a_job_that_moved_on_is_not_given_back(world: World) -> None:
    runner, offer = await undone_claim(world)
    await world.store.steering.cancel("job", by="me")
    before = await world.contents()
    assert await reclaim(world, runner, working(offer)) == [False]
    after = await world.contents()
    slots = world.connection.keys.slots("default")
    assert after.pop(slots) == {runner.runner_id: "1"}
    assert before.pop(slots) == {runner.runner_id: "?1"}
    assert after == before


@pytest.mark.req("LSE-2")
async def test_a_claim_of_another_attempt_is_not_given_back(world: World) -> None:
    runner, offer = await undone_claim(world)
    later = Working(offer.job_id, "1.9.x", offer.epoch + 8, offer.attempt + 1, 0, "")
    assert await reclaim(world, runner, later, working(offer)) == [False, True]
    assert await reclaim(world, runner, later) == [False]
    assert (await world.fields("job"))["claim"] == offer.claim


@pytest.mark.req("LSE-1", "LSE-2")
async def test_a_claim_below_one_that_the_job_had_since_is_not_given_back(world: World) -> None:
    """Lost twice: the job came as far on another way, under later claims. A fence only grows."""
    await world.pool()
    await world.submit("job")
    runner = await world.runner()
    offer = await runner.claim_one()
    await runner.end(ending("handback", offer))
    await come_back(world)
    below = Working("job", "1.1.x", offer.epoch - 1, offer.attempt + 1, 0, "")
    assert await reclaim(world, runner, below) == [False]
    assert await world.state("job") is State.READY
    await come_back(world)
    above = Working("job", "1.9.x", offer.epoch + 1, offer.attempt + 1, 0, "")
    assert await reclaim(world, runner, above) == [True]


@pytest.mark.req("RUN-5")
async def test_where_the_attempt_had_come_to_is_not_lost_with_the_evidence(world: World) -> None:
    runner, offer = await undone_claim(world)
    progress = '{"finished":["s1","s2"]}'
    assert await reclaim(world, runner, working(offer, notes=4, progress=progress)) == [True]
    fields = await world.fields("job")
    assert (fields["notes"], fields["progress"]) == ("4", progress)
    await world.store.claims.note(
        "job", offer.claim, number=5, event="step_started", payload=started("s3")
    )
    await runner.end(ending("handback", offer))
    assert (await runner.claim_one()).progress == progress


@pytest.mark.req("LSE-1")
async def test_jobs_that_only_the_server_knows_of_are_offered_again_by_number(world: World) -> None:
    runner = await world.runner()
    await world.submit("job")
    first = await runner.cycle(free=1)
    await come_back(world)
    assert await reclaim(world, runner) == []
    again = await runner.cycle(free=1, number=runner.number)
    assert again.offers == first.offers


@pytest.mark.req("LSE-1")
async def test_a_buried_runner_gets_nothing_back(world: World) -> None:
    runner, offer = await undone_claim(world)
    beats = await world.store.leases.beats()
    await world.store.leases.bury(runner.runner_id, beats[runner.runner_id], age_ms=1, most=10)
    before = await world.contents()
    with pytest.raises(Refused) as refused:
        await reclaim(world, runner, working(offer))
    assert refused.value.code is ErrorCode.LEASE_OVER
    assert await world.contents() == before


@pytest.mark.req("LSE-1")
async def test_whoever_was_buried_cannot_register_again_as_if_it_were_not(world: World) -> None:
    runner = await world.runner()
    instance = Instance(runner.runner_id, "runner", {"lease_ms": 15_000}, pool="default", slots=3)
    await world.store.leases.register(instance, again=True)
    assert (await world.redis("HGETALL", world.connection.keys.slots("default"))) == {
        runner.runner_id: "3"
    }
    await world.bury(runner)
    before = await world.contents()
    with pytest.raises(Refused):
        await world.store.leases.register(instance, again=True)
    assert await world.contents() == before


@pytest.mark.req("LSE-1", "LSE-4")
async def test_a_late_copy_of_its_registration_does_not_make_a_buried_runner_live(
    world: World,
) -> None:
    runner = await world.runner(slots=2)
    await world.submit("job")
    await runner.cycle()
    await world.bury(runner)
    before = await world.contents()
    instance = Instance(runner.runner_id, "runner", {"lease_ms": 15_000}, pool="default", slots=2)
    with pytest.raises(Refused) as refused:
        await world.store.leases.register(instance)
    assert refused.value.code is ErrorCode.LEASE_OVER
    with pytest.raises(Refused):
        await world.store.leases.beat(runner.runner_id)
    assert await world.contents() == before


@pytest.mark.req("LSE-1")
async def test_other_actors_live_on_under_their_id_after_a_burial(world: World) -> None:
    reaper = Instance("a-reaper", "reaper", {"lease_ms": 15_000})
    await world.store.leases.register(reaper)
    beats = await world.store.leases.beats()
    await world.store.leases.bury("a-reaper", beats["a-reaper"], age_ms=1, most=10)
    await world.store.leases.register(reaper)
    assert await world.store.leases.beat("a-reaper")


@pytest.mark.req("LSE-1")
async def test_buried_runners_are_remembered_in_a_bounded_number(world: World) -> None:
    buried = world.connection.keys.buried
    for first in range(0, BURIED_MAX, 1_000):
        old = (word for n in range(first, first + 1_000) for word in (1_000 + n, f"old-{n}"))
        await world.redis("ZADD", buried, *old)
    runner = await world.runner()
    await world.bury(runner)
    assert await world.redis("ZRANGE", buried, 0, -1) == [runner.runner_id], "the hour is over"
    young = (word for n in range(BURIED_MAX) for word in (10**15 + n, f"young-{n}"))
    await world.redis("ZADD", buried, *young)
    await world.bury(await world.runner())
    assert await world.redis("ZCARD", buried) == BURIED_MAX


@pytest.mark.req("LSE-1")
async def test_registering_again_is_no_answer_to_what_do_you_run(world: World) -> None:
    runner, offer = await undone_claim(world)
    instance = Instance(runner.runner_id, "runner", {"lease_ms": 15_000}, pool="default", slots=1)
    await world.store.leases.register(instance, again=True)
    assert await cycled(runner) is None
    assert await reclaim(world, runner, working(offer)) == [True]


@pytest.mark.req("LSE-1", "LSE-2")
async def test_a_late_copy_of_an_answer_gives_no_claim_back(world: World) -> None:
    runner, offer = await undone_claim(world)
    assert await reclaim(world, runner) == []
    before = await world.contents()
    assert await reclaim(world, runner, working(offer)) == [False]
    assert await world.contents() == before


@pytest.mark.req("LSE-1", "SCH-4")
async def test_a_job_whose_session_another_has_meanwhile_is_not_given_back(world: World) -> None:
    await world.pool()
    before = await world.contents()
    await world.submit("first", session="chat")
    runner = await world.runner()
    offer = await runner.claim_one()
    await world.go_back(before)
    # Its submission was lost too, and is repeated after another one of its session.
    await world.submit("second", session="chat")
    await world.submit("first", session="chat")
    await come_back(world)
    assert await reclaim(world, runner, working(offer)) == [False]
    assert (await world.fields("first"))["aside"] == "s:chat"
    assert await world.redis("SMEMBERS", world.connection.keys.active("default", "s:chat")) == {
        "second"
    }
