"""A job that comes while a runner rests is claimed for it in the call that makes it; its inbox tells it."""

from __future__ import annotations

import pytest

from actors.runner.decide import handed_back
from contracts.limits import REST_MS_MAX
from contracts.states import State
from orch.core.handover import Gone, Offer
from orch.store.claims import offer_in
from tests.store.world import Runner, World, ending

pytestmark = (
    pytest.mark.first_answers
)  # a read of an inbox whose answer is lost has lost what it brought


async def told(world: World, runner: Runner) -> list[Offer]:
    """What its inbox has for it."""
    inbox = world.connection.keys.inbox(runner.runner_id)
    reader = world.connection.reader(1_000)
    words = ("XREADGROUP", "GROUP", "runners", runner.runner_id, "NOACK", "STREAMS", inbox, ">")
    streams = await reader.read(*words)
    return [offer_in(entry) for _, entry in streams.get(inbox, []) if entry["what"] == "offer"]


async def resting(world: World, slots: int = 2) -> Runner:
    runner = await world.runner(slots=slots)
    await runner.cycle(heard=0)
    return runner


@pytest.mark.req("LSE-1", "PERF-2")
async def test_a_runner_at_rest_is_handed_the_job_under_a_claim_like_any_other(
    world: World,
) -> None:
    runner = await resting(world)
    answer = await world.submit("job", inputs={"n": 1})
    (offer,) = await told(world, runner)
    incarnation, number, _ = offer.claim.split(".")
    assert (offer.job_id, offer.attempt) == ("job", 1)
    assert offer.epoch == int(incarnation) * 2**32 + int(number)
    assert (answer.state, answer.queue_position) == (State.RUNNING, 0)
    assert await world.story("job") == ["admit", "dispatch", "claim"]
    assert await world.store.claims.held(runner.runner_id) == {"job": offer.claim}
    assert await runner.end(ending("settle", offer)) == ["ok"]
    assert await world.state("job") is State.COMPLETED


@pytest.mark.req("LSE-1")
async def test_it_is_told_again_until_it_was_heard_of_and_nothing_else_is_handed_meanwhile(
    world: World,
) -> None:
    runner = await resting(world)
    await world.submit("one")
    await world.submit("two")
    assert await world.state("two") is State.READY
    again = [(await runner.cycle(free=0, heard=0)).handed for _ in range(2)]
    assert [one and one.job_id for one in again] == ["one", "one"]
    (offer,) = await told(world, runner)
    assert again == [offer, offer]
    await world.submit("three")
    assert await world.state("three") is State.QUEUED
    cycled = await runner.cycle(free=1, heard=offer.epoch)
    assert cycled.handed is None
    assert [offer.job_id for offer in cycled.offers] == ["two"]
    # What was heard of does not stay in the inbox.
    assert await world.redis("XLEN", world.connection.keys.inbox(runner.runner_id)) == 0


@pytest.mark.req("LSE-1", "ADM-5")
async def test_of_many_jobs_the_first_is_handed_over_and_the_rest_waits_for_whoever_comes(
    world: World,
) -> None:
    one, two = await resting(world, slots=2), await world.runner(slots=2)
    ids = await world.submit_many("job", 6)
    (offer,) = await told(world, one)
    assert offer.job_id == ids[0]
    states = [State.RUNNING] + [State.READY] * 3 + [State.QUEUED] * 2
    assert await world.states(ids) == states
    taken = (await two.cycle(free=2)).offers
    assert [one.job_id for one in taken] == ids[1:3]


@pytest.mark.req("LSE-1")
async def test_a_claim_that_was_over_before_it_was_heard_of_is_told_as_that(world: World) -> None:
    runner = await resting(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me", note=None)
    gone = (await runner.cycle(free=1, heard=0)).handed
    assert isinstance(gone, Gone)
    assert gone.job_id == "job"
    # Its slot is its own until it says that nothing runs.
    assert await world.store.claims.held(runner.runner_id) == {"job": gone.claim}
    back = handed_back(gone.job_id, gone.claim)
    cycled = await runner.cycle(back, heard=gone.epoch)
    assert cycled.judgements == ["over"]
    assert await world.store.claims.held(runner.runner_id) == {}


@pytest.mark.req("CTL-1", "LSE-1")
@pytest.mark.parametrize("wish", ["pool:default:drain", "runner:runner-1:drain", "*:dispatch"])
async def test_whom_operators_hold_back_is_handed_nothing(world: World, wish: str) -> None:
    runner = await resting(world)
    await world.wish(**{wish: "paused" if wish == "*:dispatch" else "c1"})
    await world.submit("job")
    assert await told(world, runner) == []
    assert await world.state("job") is State.QUEUED


@pytest.mark.req("LSE-1", "LSE-2")
async def test_who_is_full_buried_or_silent_for_long_is_handed_nothing(world: World) -> None:
    full, silent, dead = [await resting(world, slots=1) for _ in range(3)]
    keys = world.connection.keys
    await world.bury(dead)
    await world.redis("HSET", keys.held(full.runner_id), "other", "1.1.x")
    long_ago = await world.now_ms() - REST_MS_MAX - 1
    await world.redis("ZADD", keys.resting("default"), long_ago, silent.runner_id)
    await world.submit("job")
    assert [await told(world, one) for one in (full, silent)] == [[], []]
    assert await world.state("job") is State.READY
    world.half_written = True  # nobody gave that slot away


@pytest.mark.req("LSE-1", "REA-2")
async def test_who_dies_with_what_it_was_handed_loses_it_as_any_other_job(world: World) -> None:
    runner = await resting(world)
    await world.submit("job")
    assert (await world.bury(runner)).freed == 1
    assert await world.story("job") == ["admit", "dispatch", "claim", "stale_recovered", "bury"]
    await world.decide("job", "retry")
    other = await world.runner()
    assert (await other.claim_one()).attempt == 2


@pytest.mark.req("LSE-1", "ADM-3")
async def test_a_submission_that_is_repeated_hands_nothing_over_twice(world: World) -> None:
    one, two = await resting(world), await resting(world)
    for _ in range(2):
        await world.submit("job")
    handed = [*await told(world, one), *await told(world, two)]
    assert [offer.job_id for offer in handed] == ["job"]
