"""What happens by time: delayed jobs, retries, deadlines, questions nobody answered, retention."""

from __future__ import annotations

import pytest

from contracts.record import Submitted
from contracts.states import State
from orch.core.handover import Pieces
from tests.store.world import HOUR_MS, World, ending, spec

# A set of finished jobs is named after its hour: retention "until two hours from now" is over for all.
ALL_OVER_MS = -2 * HOUR_MS


async def due_until(world: World, handled: int) -> int:
    """Lets time pass on the server until so many timers were handled; the next one's distance."""
    done = 0
    while True:
        count, next_in_ms, *_ = await world.store.timers.due(most=100)
        done += count
        if done >= handled:
            assert done == handled
            return next_in_ms


@pytest.mark.req("SCH-3")
@pytest.mark.first_answers
async def test_a_delayed_job_queues_when_its_time_has_come_and_not_before(world: World) -> None:
    await world.pool()
    soon = await world.now_ms() + 60
    await world.submit("job", not_before_ms=soon)
    handled, next_in_ms, *_ = await world.store.timers.due(most=100)
    assert (handled, 0 < next_in_ms <= 60) == (0, True)
    assert await due_until(world, 1) == -1
    assert await world.now_ms() >= soon
    record = await world.store.reading.job("job")
    assert (record.state, record.due_at_ms) == (State.QUEUED, None)
    assert await world.story("job") == ["schedule", "due"]


@pytest.mark.req("FBK-2", "SCH-3")
@pytest.mark.first_answers
async def test_a_parked_retry_runs_again_without_anybody_waiting_for_it(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("release", offer))
    await world.decide("job", "backoff", delay_ms=20)
    assert await due_until(world, 1) == -1
    assert (await runner.claim_one()).attempt == 2


@pytest.mark.req("SCH-3", "REA-1")
@pytest.mark.first_answers
@pytest.mark.drives("job_timeout")
async def test_a_deadline_stops_a_running_job_and_frees_its_slot_when_the_work_stopped(
    world: World,
) -> None:
    deadline = await world.now_ms() + 200
    runner, offer = await world.running("job", deadline_ms=deadline)
    assert await due_until(world, 1) == -1
    record = await world.store.reading.job("job")
    assert (record.state, record.outcome, record.lease) == (State.EXPIRED, "expired", None)
    assert record.attempts[0].outcome == "expired"
    timeout = (await world.ledger("job"))[-2]
    assert (timeout.type.value, timeout.payload) == (
        "job_timeout",
        {"limit": "deadline_ms", "value_ms": deadline},
    )
    inbox = await world.redis("XRANGE", world.connection.keys.inbox(runner.runner_id), "-", "+")
    assert [entry["what"] for _, entry in inbox] == ["cancel"]
    assert await world.redis("HLEN", world.connection.keys.held(runner.runner_id)) == 1
    assert await runner.end(ending("release", offer)) == ["over"]
    assert await world.redis("HLEN", world.connection.keys.held(runner.runner_id)) == 0


@pytest.mark.req("SCH-3")
@pytest.mark.first_answers
async def test_a_deadline_meets_a_job_wherever_it_waits(world: World) -> None:
    await world.pool()
    now = await world.now_ms()
    deadline = now + 300
    answers = await world.ask(
        spec(id="queued", deadline_ms=deadline),
        spec(id="paused", deadline_ms=deadline),
        spec(id="scheduled", deadline_ms=deadline, not_before_ms=deadline - 1),
    )
    assert all(isinstance(one, Submitted) for one in answers)
    await world.store.steering.pause("paused", by="me")
    await world.store.steering.pause("scheduled", by="me")
    await world.store.steering.resume("scheduled", by="me")
    await due_until(world, 4)
    assert set(await world.states(["queued", "paused", "scheduled"])) == {State.EXPIRED}


@pytest.mark.req("SCH-3", "FBK-6")
@pytest.mark.parametrize("verb", ["release", "ask"])
@pytest.mark.first_answers
async def test_a_deadline_meets_a_job_that_waits_for_a_decision_or_an_answer(
    world: World, verb: str
) -> None:
    runner, offer = await world.running("job", deadline_ms=await world.now_ms() + 200)
    await runner.end(ending(verb, offer))  # type: ignore[arg-type]  # a parameter of the test
    await due_until(world, 1)
    record = await world.store.reading.job("job")
    assert (record.state, record.outcome, record.question) == (State.EXPIRED, "expired", None)
    assert [one.outcome for one in record.attempts] == [
        "transient" if verb == "release" else "human"
    ]
    assert await world.redis("ZCARD", world.connection.keys.undecided) == 0
    assert await world.store.timers.due(most=10) == (0, -1, ())


@pytest.mark.req("SCH-3")
async def test_a_deadline_of_a_job_that_is_over_is_forgotten(world: World) -> None:
    runner, offer = await world.running("job", deadline_ms=await world.now_ms() + HOUR_MS)
    await runner.end(ending("settle", offer))
    assert await world.store.timers.due(most=10) == (0, -1, ())
    assert await world.redis("ZCARD", world.connection.keys.due) == 0


@pytest.mark.req("APR-1")
@pytest.mark.first_answers
@pytest.mark.drives("question_asked", "question_expired")
async def test_a_question_nobody_answers_expires_the_job_and_never_approves(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("ask", offer, expires_in_ms=20))
    assert await due_until(world, 1) == -1
    record = await world.store.reading.job("job")
    assert (record.state, record.question, record.block_reason) == (State.EXPIRED, None, None)
    assert (await world.story("job"))[-2:] == ["question_expired", "expire"]
    assert "answer" not in await world.fields("job")
    assert (await runner.cycle()).offers == []


@pytest.mark.req("APR-1")
async def test_the_timer_of_an_answered_question_does_nothing(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("ask", offer))
    await world.store.questions.answer("job", "q1", "approve", by="me")
    assert await world.store.timers.due(most=10) == (0, -1, ())


@pytest.mark.req("REA-1")
@pytest.mark.first_answers
async def test_timers_are_handled_in_bounded_bites_and_old_ones_do_nothing(world: World) -> None:
    world.half_written = True
    await world.pool()
    ids = await world.submit_many("job", 5)
    before = await world.fields(ids[0])
    for job_id in ids:  # timers of tickets that are no longer the jobs'
        await world.redis("ZADD", world.connection.keys.due, 1, f"later:{job_id}:99")
    await world.redis("ZADD", world.connection.keys.due, 1, "later:nobody:1")
    counts = [(await world.store.timers.due(most=4))[0] for _ in range(3)]
    assert (counts, await world.fields(ids[0])) == ([4, 2, 0], before)


@pytest.mark.req("REA-1", "FBK-4")
@pytest.mark.first_answers
async def test_a_job_past_its_retention_goes_with_everything_it_owned(world: World) -> None:
    runner, offer = await world.running("job", idempotency_key="k")
    await world.store.output.emit([Pieces("job", offer.claim, 1, [("stdout", "x")])])
    await runner.end(ending("release", offer))
    await world.decide("job", "fail")
    await world.submit("lives", idempotency_key="l")
    retire = world.store.timers.retire
    assert await retire(retention_ms=HOUR_MS, most=10, hours=100) == 0
    assert await retire(retention_ms=ALL_OVER_MS, most=10, hours=100) == 1
    keys = world.connection.keys
    owned = (
        keys.job("job"),
        keys.output("job"),
        f"{keys.prefix}idem:default:k",
        keys.dead("default"),
    )
    assert await world.redis("EXISTS", *owned) == 0
    assert await world.redis("ZRANGE", keys.jobs("default"), 0, -1) == ["lives"]
    assert [name for name in await world.contents() if ":retire:" in name] == []
    (again,) = await world.ask(spec(idempotency_key="k"))
    assert isinstance(again, Submitted)
    assert (again.duplicate, again.job_id == "job") == (False, False)
    assert await world.state("lives") is State.READY


@pytest.mark.req("REA-1")
@pytest.mark.first_answers
async def test_retention_works_in_bounded_bites(world: World) -> None:
    await world.pool()
    for job_id in await world.submit_many("job", 7):
        await world.store.steering.cancel(job_id, by="me")
    retire = world.store.timers.retire
    counts = [await retire(retention_ms=ALL_OVER_MS, most=3, hours=100) for _ in range(4)]
    assert (counts, await world.redis("ZCARD", world.connection.keys.jobs("default"))) == (
        [3, 3, 1, 0],
        0,
    )


@pytest.mark.req("REA-1", "LSE-6")
@pytest.mark.first_answers
async def test_retention_goes_on_after_the_servers_clock_was_ahead(world: World) -> None:
    await world.pool()
    retire = world.store.timers.retire
    await world.submit("one")
    await world.store.steering.cancel("one", by="me")
    assert await retire(retention_ms=ALL_OVER_MS, most=10, hours=100) == 1  # as if two hours ahead
    assert await retire(retention_ms=2 * HOUR_MS, most=10, hours=100) == 0  # and back again
    await world.submit("two")
    await world.store.steering.cancel("two", by="me")
    assert await retire(retention_ms=-HOUR_MS, most=10, hours=100) == 1


@pytest.mark.req("REA-1")
async def test_pools_are_declared_once_and_listed_by_name(world: World) -> None:
    await world.pool("b", "a")
    await world.pool("a")
    assert await world.store.timers.pools() == ["a", "b"]


@pytest.mark.req("SCH-3")
@pytest.mark.first_answers
async def test_a_timer_of_an_old_ticket_does_not_wake_a_job_that_is_parked_anew(
    world: World,
) -> None:
    await world.pool()
    await world.submit("job", not_before_ms=await world.now_ms() + HOUR_MS)
    before = await world.fields("job")
    await world.redis("ZADD", world.connection.keys.due, 1, "later:job:99")
    assert (await world.store.timers.due(most=10))[0] == 1
    assert await world.fields("job") == before
