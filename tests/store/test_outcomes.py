"""Outcomes: announced until somebody decides, decided once, carried out in the same function."""

from __future__ import annotations

import pytest

from contracts.record import JobRecord
from contracts.states import State
from tests.store.world import HOUR_MS, World, ending, verdict


async def released(world: World) -> JobRecord:
    runner, offer = await world.running("job")
    await runner.end(ending("release", offer))
    return await world.store.reading.job("job")


@pytest.mark.req("FBK-1", "FBK-6")
async def test_a_released_attempt_waits_for_its_decision_and_holds_no_slot(world: World) -> None:
    record = await released(world)
    assert (record.state, record.lease, record.outcome) == (State.RUNNING, None, None)
    (attempt,) = record.attempts
    assert (attempt.outcome, attempt.reason, attempt.exit_code) == ("transient", "exit_code", 75)
    found = await world.undecided("job")
    assert (found.seq, found.failures, found.crashes) == ("4", 0, 0)
    await world.submit("next")
    assert await world.state("next") is State.READY


@pytest.mark.req("FBK-2")
async def test_a_retry_goes_to_the_head_of_its_line(world: World) -> None:
    await released(world)
    await world.submit_many("other", 3)
    await world.decide("job", "retry", payload={"after": "transient"})
    assert await world.state("job") is State.QUEUED
    line = await world.redis(
        "LRANGE", f"{world.connection.keys.prefix}queue:default:batch:default", 0, 0
    )
    assert line == ["job:5"]
    fields = await world.fields("job")
    assert (fields["failures"], fields["crashes"], "ending" in fields) == ("1", "0", False)
    assert await world.redis("XLEN", world.connection.keys.outcomes) == 0


@pytest.mark.req("FBK-1")
@pytest.mark.first_answers
async def test_a_decision_is_carried_out_once(world: World) -> None:
    await released(world)
    found = await world.undecided("job")
    assert await world.store.outcomes.decide([verdict(found, "retry"), verdict(found, "fail")]) == [
        True,
        False,
    ]
    before = await world.contents()
    assert await world.store.outcomes.decide([verdict(found, "backoff")]) == [False]
    assert await world.store.outcomes.load("job", found.seq, "") is None
    assert await world.contents() == before


@pytest.mark.req("FBK-1", "LSE-2")
async def test_a_decision_about_a_job_canceled_meanwhile_is_stale_and_settles_its_hint(
    world: World,
) -> None:
    await released(world)
    found = await world.undecided("job")
    await world.store.steering.cancel("job", by="me")
    before = await world.fields("job")
    assert await world.store.outcomes.decide([verdict(found, "retry")]) == [False]
    assert await world.fields("job") == before
    assert await world.redis("XLEN", world.connection.keys.outcomes) == 0


@pytest.mark.req("FBK-2", "SCH-3")
async def test_a_backoff_parks_the_job_until_its_time(world: World) -> None:
    await released(world)
    now = await world.now_ms()
    await world.decide("job", "backoff", delay_ms=HOUR_MS)
    record = await world.store.reading.job("job")
    assert record.state is State.SCHEDULED
    assert 0 <= (record.due_at_ms or 0) - now - HOUR_MS < 5_000
    last = (await world.ledger("job"))[-1].payload
    assert last == {
        "from": "running", "to": "scheduled", "cause": "backoff", "after": "transient", "delay_ms": HOUR_MS,
        "failures": 1, "crashes": 0, "due_at_ms": record.due_at_ms,
    }  # fmt: skip


@pytest.mark.req("FBK-4")
@pytest.mark.drives("job_failed")
async def test_a_job_without_attempts_left_becomes_a_dead_letter_that_keeps_its_history(
    world: World,
) -> None:
    await released(world)
    await world.decide("job", "fail")
    record = await world.store.reading.job("job")
    assert (record.state, record.outcome) == (State.FAILED, "transient")
    assert (await world.story("job"))[-2:] == ["job_failed", "fail"]
    assert await world.redis("ZRANGE", world.connection.keys.dead("default"), 0, -1) == ["job"]
    assert "spec" in await world.fields("job")


@pytest.mark.req("FBK-1")
async def test_a_job_blocked_for_a_human_says_why_and_can_be_canceled(world: World) -> None:
    await released(world)
    await world.decide("job", "block")
    record = await world.store.reading.job("job")
    assert (record.state, record.block_reason, record.question) == (State.BLOCKED, "error", None)
    assert (await world.store.steering.cancel("job", by="me")).block_reason is None


@pytest.mark.req("REA-1")
@pytest.mark.first_answers
async def test_an_outcome_nobody_decides_about_is_announced_again_and_not_too_often(
    world: World,
) -> None:
    await released(world)
    outcomes, stream = world.store.outcomes, world.connection.keys.outcomes
    assert await outcomes.announce(older_ms=HOUR_MS, again_ms=HOUR_MS, most=10) == 0
    await world.redis("DEL", stream)  # the hint is lost, the truth is not
    assert await outcomes.announce(older_ms=0, again_ms=HOUR_MS, most=10) == 1
    assert await outcomes.announce(older_ms=0, again_ms=HOUR_MS, most=10) == 0
    assert [entry["j"] for _, entry in await world.redis("XRANGE", stream, "-", "+")] == ["job:4"]
    await world.decide("job", "retry")
    assert await outcomes.announce(older_ms=-2 * HOUR_MS, again_ms=HOUR_MS, most=10) == 0


@pytest.mark.req("FBK-1")
@pytest.mark.first_answers
async def test_decisions_of_one_call_judge_alone(world: World) -> None:
    runner = await world.runner(slots=3)
    ids = await world.submit_many("job", 3)
    held = (await runner.cycle()).offers
    await runner.end(*(ending("release", offer) for offer in held))
    found = [await world.undecided(job_id) for job_id in ids]
    await world.store.steering.cancel(ids[1], by="me")
    verbs = ("retry", "retry", "fail")
    made = [verdict(one, verb) for one, verb in zip(found, verbs, strict=True)]
    assert await world.store.outcomes.decide(made) == [True, False, True]
    assert await world.states(ids) == [State.READY, State.CANCELED, State.FAILED]


@pytest.mark.req("FBK-1")
async def test_a_decision_about_an_earlier_outcome_is_stale(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("release", offer))
    first = await world.undecided("job")
    await world.decide("job", "retry")
    await runner.end(ending("release", await runner.claim_one()))
    before = await world.fields("job")
    assert await world.store.outcomes.decide([verdict(first, "fail")]) == [False]
    assert await world.fields("job") == before
