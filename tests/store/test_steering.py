"""Operators' verbs in every state a job can be in, against the state table (JOB-2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.record import JobRecord
from contracts.states import TERMINAL, Event, Refusal, State, step
from tests.store.world import HOUR_MS, World, ending, question

Bring = Callable[[World], Awaitable[object]]


async def _waiting(world: World) -> None:
    await world.pool()
    await world.submit("job")


async def _scheduled(world: World) -> None:
    await world.pool()
    await world.submit("job", not_before_ms=await world.now_ms() + HOUR_MS)


async def _ready(world: World) -> None:
    await world.runner()
    await world.submit("job")


async def _running(world: World) -> None:
    await world.running("job")


async def _paused(world: World) -> None:
    await _waiting(world)
    await world.store.steering.pause("job", by="me")


async def _blocked(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("ask", offer))


async def _completed(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("settle", offer))


async def _failed(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("release", offer))
    await world.decide("job", "fail")


async def _canceled(world: World) -> None:
    await _waiting(world)
    await world.store.steering.cancel("job", by="me")


async def _expired(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("ask", offer, expires_in_ms=0))
    await world.store.timers.due(most=10)


BRING: dict[State, Bring] = {
    State.SCHEDULED: _scheduled,
    State.QUEUED: _waiting,
    State.READY: _ready,
    State.RUNNING: _running,
    State.PAUSED: _paused,
    State.BLOCKED: _blocked,
    State.COMPLETED: _completed,
    State.FAILED: _failed,
    State.CANCELED: _canceled,
    State.EXPIRED: _expired,
}
assert set(BRING) == set(State)


async def apply(world: World, verb: Event) -> JobRecord:
    steering = world.store.steering
    match verb:
        case Event.CANCEL:
            return await steering.cancel("job", by="me")
        case Event.PAUSE:
            return await steering.pause("job", by="me")
        case Event.RESUME:
            return await steering.resume("job", by="me")
        case _:
            return await world.store.questions.answer("job", "q1", "approve", by="me")


def repeats(state: State, verb: Event) -> bool:
    """Where the table refuses, but the operator already has what he wants: nothing happens."""
    live_and_going = state not in TERMINAL and state not in {State.PAUSED, State.BLOCKED}
    return {
        Event.CANCEL: state is State.CANCELED,
        Event.PAUSE: state is State.PAUSED,
        Event.RESUME: live_and_going,
    }.get(verb, False)


VERBS = (Event.CANCEL, Event.PAUSE, Event.RESUME, Event.ANSWER)


@pytest.mark.req("JOB-2", "JOB-6")
@pytest.mark.parametrize(("state", "verb"), list(product(State, VERBS)))
async def test_a_verb_does_in_each_state_what_the_table_says(
    world: World, state: State, verb: Event
) -> None:
    await BRING[state](world)
    assert await world.state("job") is state
    before, told = await world.contents(), step(state, verb)
    if repeats(state, verb):
        record = await apply(world, verb)
        assert (record.state, await world.contents()) == (state, before)
    elif (state, verb) == (State.RUNNING, Event.PAUSE):
        record = await apply(world, verb)
        assert (record.state, record.pause_wished) == (state, True)
        assert (await world.story("job"))[-1] == "pause_wished"
    elif isinstance(told, Refusal):
        with pytest.raises(Refused) as refused:
            await apply(world, verb)
        assert refused.value.code is ErrorCode.INVALID_TRANSITION
        assert refused.value.details == {"state": state, "event": verb, "refusal": told}
        assert await world.contents() == before
    else:
        record = await apply(world, verb)
        # A slot is free where an answer queues the job again, so it goes on at once.
        story = await world.story("job")
        gone_on = story[-1] == "dispatch"
        assert record.state is (State.READY if gone_on else told)
        assert story[-2 if gone_on else -1] == verb.value


@pytest.mark.req("JOB-2")
@pytest.mark.parametrize("verb", VERBS)
async def test_nobodys_job_is_not_found(world: World, verb: Event) -> None:
    before = await world.contents()
    with pytest.raises(Refused) as refused:
        await apply(world, verb)
    assert refused.value.code is ErrorCode.NOT_FOUND
    assert await world.contents() == before


@pytest.mark.req("JOB-2", "JOB-4")
@pytest.mark.parametrize("verb", [Event.CANCEL, Event.PAUSE])
@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
async def test_a_repeated_verb_adds_no_event(world: World, state: State, verb: Event) -> None:
    await BRING[state](world)
    first = await apply(world, verb)
    before = await world.contents()
    assert await apply(world, verb) == first
    assert await world.contents() == before


@pytest.mark.req("RUN-4")
@pytest.mark.first_answers
async def test_a_wish_to_pause_stops_the_job_when_its_runner_says_so(world: World) -> None:
    runner, offer = await world.running("job")
    await world.store.steering.pause("job", by="me")
    inbox = await world.redis("XRANGE", world.connection.keys.inbox(runner.runner_id), "-", "+")
    assert [entry["what"] for _, entry in inbox] == ["pause"]
    assert await runner.end(ending("stop", offer)) == ["ok"]
    record = await world.store.reading.job("job")
    assert (record.state, record.pause_wished) == (State.PAUSED, False)
    assert record.attempts[0].reason == "paused"


@pytest.mark.req("RUN-4")
@pytest.mark.first_answers
async def test_a_withdrawn_wish_lets_the_job_run_on(world: World) -> None:
    runner, offer = await world.running("job")
    await world.store.steering.pause("job", by="me")
    record = await world.store.steering.resume("job", by="me")
    assert (record.state, record.pause_wished) == (State.RUNNING, False)
    inbox = await world.redis("XRANGE", world.connection.keys.inbox(runner.runner_id), "-", "+")
    assert [entry["what"] for _, entry in inbox] == ["pause", "resume"]
    assert await runner.end(ending("stop", offer)) == ["ok"]
    assert await world.state("job") is State.READY


@pytest.mark.req("RUN-4")
@pytest.mark.parametrize("verb", ["release", "handback", "lost"])
async def test_a_wish_to_pause_outlives_the_end_of_its_attempt(world: World, verb: str) -> None:
    runner, offer = await world.running("job")
    await world.store.steering.pause("job", by="me")
    if verb == "lost":
        await world.bury(runner)
        runner = await world.runner()
    else:
        await runner.end(ending(verb, offer))  # type: ignore[arg-type]  # a parameter of the test
    if verb != "handback":
        await world.decide("job", "retry")
    assert (await world.store.reading.job("job")).pause_wished
    again = await runner.claim_one()
    assert (again.wish, again.attempt) == ("pause", 2)


@pytest.mark.req("RUN-4")
@pytest.mark.parametrize("verb", [Event.PAUSE, Event.RESUME])
async def test_a_wish_is_fulfilled_or_withdrawn_while_the_job_waits_and_pauses_nothing_later(
    world: World, verb: Event
) -> None:
    runner, offer = await world.running("job")
    await world.store.steering.pause("job", by="me")
    await runner.end(ending("release", offer))
    await world.decide("job", "backoff")
    record = await apply(world, verb)
    assert record.state is (State.PAUSED if verb is Event.PAUSE else State.SCHEDULED)
    assert not record.pause_wished
    if verb is Event.PAUSE:
        await apply(world, Event.RESUME)
        assert (await runner.claim_one()).wish == ""


@pytest.mark.req("JOB-2")
async def test_a_canceled_job_wishes_nothing_any_more(world: World) -> None:
    runner, offer = await world.running("job")
    await world.store.steering.pause("job", by="me")
    await runner.end(ending("release", offer))
    record = await world.store.steering.cancel("job", by="me")
    assert (record.state, record.pause_wished, record.outcome) == (
        State.CANCELED,
        False,
        "canceled",
    )
    assert await world.redis("ZCARD", world.connection.keys.undecided) == 0


@pytest.mark.req("SCH-3")
async def test_a_paused_job_whose_time_has_not_come_is_parked_again(world: World) -> None:
    await _scheduled(world)
    due_at = (await world.store.reading.job("job")).due_at_ms
    await world.store.steering.pause("job", by="me")
    assert await world.redis("ZCARD", world.connection.keys.due) == 0
    record = await world.store.steering.resume("job", by="me")
    assert (record.state, record.due_at_ms) == (State.SCHEDULED, due_at)
    assert await world.redis("ZCARD", world.connection.keys.due) == 1


@pytest.mark.req("APR-1")
@pytest.mark.drives("question_answered")
async def test_an_answer_reaches_the_step_that_asked_and_is_consumed_once(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("ask", offer))
    record = await world.store.reading.job("job")
    assert (record.block_reason, record.question and record.question.text) == ("approval", "go on?")
    assert await world.redis("HLEN", world.connection.keys.held(runner.runner_id)) == 0
    await world.store.questions.answer("job", "q1", value=True, by="me", reason="fine")
    again = await runner.claim_one()
    assert again.answer == '{"question_id":"q1","step_id":"s1","value":"approve"}'
    wish = await world.store.claims.note(
        "job",
        again.claim,
        number=1,
        event="answer_consumed",
        payload={"question_id": "q1", "step_id": "s1"},
        consume_answer=True,
    )
    assert (wish, "answer" in await world.fields("job")) == ("", False)
    story = await world.story("job")
    assert story[3:] == [
        "question_asked", "ask", "question_answered", "answer", "dispatch", "claim", "answer_consumed",
    ]  # fmt: skip


@pytest.mark.req("APR-1")
async def test_a_question_is_answered_once_and_only_when_it_is_the_one_asked(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("ask", offer))
    before = await world.contents()
    answer = world.store.questions.answer
    for question_id, value, code in (
        ("q2", "approve", ErrorCode.ALREADY_ANSWERED),
        ("q1", "maybe", ErrorCode.INVALID_ANSWER),
    ):
        with pytest.raises(Refused) as refused:
            await answer("job", question_id, value, by="me")
        assert refused.value.code is code
    assert await world.contents() == before
    await answer("job", "q1", "deny", by="me")
    before = await world.contents()
    with pytest.raises(Refused) as refused:
        await answer("job", "q1", "approve", by="you")
    assert refused.value.code is ErrorCode.ALREADY_ANSWERED
    assert await world.contents() == before


@pytest.mark.req("APR-1")
async def test_a_second_question_of_the_same_job_is_another_question(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("ask", offer))
    await world.store.questions.answer("job", "q1", "approve", by="me")
    second = await runner.claim_one()
    await runner.end(ending("ask", second, data=question("q2", kind="choose", options=["a", "b"])))
    with pytest.raises(Refused) as refused:
        await world.store.questions.answer("job", "q1", "approve", by="me")
    assert refused.value.code is ErrorCode.ALREADY_ANSWERED
    await world.store.questions.answer("job", "q2", "b", by="me")
    assert '"value":"b"' in (await runner.claim_one()).answer
