"""Double texting: what a new job does to the live jobs of its session, decided in the call that admits it."""

from __future__ import annotations

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.record import Submitted
from contracts.states import State
from tests.store.world import Runner, World, ending, policy, spec

CANCELED, PAUSED, READY, RUNS, WAITS = (
    State.CANCELED,
    State.PAUSED,
    State.READY,
    State.RUNNING,
    State.QUEUED,
)


def job(job_id: str, how: str | None = None, **keys: object) -> dict[str, object]:
    """A job of the session `chat`."""
    said = {} if how is None else {"session_policy": how}
    return spec(id=job_id, session="chat", **said, **keys)


async def claimed(runner: Runner) -> list[str]:
    return [offer.job_id for offer in (await runner.cycle()).offers]


def codes(answers: list[Submitted | Refused]) -> list[object]:
    return [one.code if isinstance(one, Refused) else one.state for one in answers]


@pytest.mark.req("SCH-4")
async def test_jobs_of_a_session_run_one_at_a_time_in_their_order_over_classes_and_pools(
    world: World,
) -> None:
    here, there = (
        await world.runner(slots=3, pool="here"),
        await world.runner(slots=3, pool="there"),
    )
    await world.ask(
        job("one", priority="batch", pool="here"),
        job("two", priority="interactive", pool="there"),
        job("three", priority="interactive", pool="here"),
    )
    assert await world.states(["one", "two", "three"]) == [READY, WAITS, WAITS]
    (offer,) = (await here.cycle()).offers
    await here.end(ending("settle", offer))
    assert await world.states(["two", "three"]) == [READY, WAITS]
    (offer,) = (await there.cycle()).offers
    await there.end(ending("settle", offer))
    assert await claimed(here) == ["three"]


@pytest.mark.req("SCH-4")
async def test_reject_refuses_a_newcomer_and_names_the_live_job(world: World) -> None:
    await world.pool()
    await world.ask(job("one"))
    before = await world.contents()
    (refused,) = await world.ask(job("two", "reject"))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.entry.http_status) == (ErrorCode.SESSION_BUSY, 409)
    assert refused.details == {
        "session": "chat",
        "session_policy": "reject",
        "live_jobs": 1,
        "job_id": "one",
    }
    assert await world.contents() == before
    await world.store.steering.cancel("one", by="me")
    assert codes(await world.ask(job("two", "reject"))) == [WAITS]


@pytest.mark.req("SCH-4")
async def test_reject_counts_what_stands_before_it_in_its_own_batch(world: World) -> None:
    await world.pool()
    answers = await world.ask(job("one", "reject"), job("two", "reject"), spec(id="free"))
    assert codes(answers) == [WAITS, ErrorCode.SESSION_BUSY, WAITS]
    assert isinstance(answers[1], Refused)
    assert (answers[1].details or {})["job_id"] == "one"


@pytest.mark.req("SCH-4")
async def test_replace_cancels_all_live_jobs_of_the_session_and_goes_next(world: World) -> None:
    runner = await world.runner(slots=2)
    await world.ask(job("runs"), job("waits"))
    assert await claimed(runner) == ["runs"]
    assert codes(await world.ask(job("new", "replace"))) == [READY]
    assert await world.states(["runs", "waits", "new"]) == [CANCELED, CANCELED, READY]
    payload = (await world.ledger("waits"))[-1].payload
    assert (payload["by"], payload["reason"]) == ("job new", "replaced")


@pytest.mark.req("SCH-4")
async def test_replace_in_one_batch_leaves_the_last(world: World) -> None:
    await world.pool()
    answers = await world.ask(*(job(f"j{n}", "replace") for n in range(4)))
    assert codes(answers) == [CANCELED, CANCELED, CANCELED, WAITS]
    assert [one.queue_position for one in answers if isinstance(one, Submitted)][:3] == [None] * 3


@pytest.mark.req("SCH-4")
async def test_interrupt_asks_the_one_that_runs_to_pause_and_goes_before_those_that_wait(
    world: World,
) -> None:
    runner = await world.runner(slots=2)
    await world.ask(job("runs"), job("waits"))
    (offer,) = (await runner.cycle()).offers
    assert codes(await world.ask(job("new", "interrupt"))) == [WAITS]
    assert (await world.store.reading.job("runs")).pause_wished
    await runner.end(ending("stop", offer))
    assert await world.states(["runs", "waits", "new"]) == [PAUSED, WAITS, READY]
    (offer,) = (await runner.cycle()).offers
    assert offer.job_id == "new"
    # What was interrupted is resumable, and goes on before what has not begun.
    await world.store.steering.resume("runs", by="me")
    assert await world.states(["runs", "waits"]) == [WAITS, WAITS]
    (offer,) = (await runner.cycle(ending("settle", offer))).offers
    assert offer.job_id == "runs"


@pytest.mark.req("SCH-4")
@pytest.mark.drives("set_aside")
async def test_interrupt_goes_before_one_that_has_not_started(world: World) -> None:
    await world.pool()
    await world.ask(job("first"), job("second"))
    await world.ask(job("new", "interrupt"))
    runner, order = await world.runner(slots=1), []
    await world.store.timers.dispatch("default", most=10)
    offers = (await runner.cycle()).offers
    while offers:
        order += [one.job_id for one in offers]
        offers = (await runner.cycle(*(ending("settle", one) for one in offers))).offers
    assert order == ["new", "first", "second"]


@pytest.mark.req("SCH-4")
async def test_one_that_lets_a_newcomer_go_first_lets_go_of_its_key_too(world: World) -> None:
    runner = await world.runner(slots=1)
    await world.ask(job("first", concurrency_key="repo"))
    (offer,) = (await runner.cycle()).offers
    # It waits again, at the head of its line, and has kept its key; its runner has no slot for it.
    await world.submit("busy", priority="interactive")
    await runner.cycle(ending("handback", offer), free=0)
    await world.ask(job("new", "interrupt", concurrency_key="repo"))
    assert "aside" in await world.fields("first")
    active = world.connection.keys.active("default", "k:repo")
    assert "first" not in await world.redis("SMEMBERS", active)


@pytest.mark.req("SCH-4", "REA-3")
async def test_one_that_lost_its_session_waits_without_its_key(world: World) -> None:
    runner = await world.runner(slots=1)
    await world.ask(job("first", concurrency_key="repo"))
    (offer,) = (await runner.cycle()).offers
    # The index is lost, and before it is rebuilt another job has the session and waits for the key.
    await world.redis("DEL", world.connection.keys.active("default", "s:chat"))
    await world.ask(job("second", concurrency_key="repo"))
    order = []
    offers = (await runner.cycle(ending("handback", offer))).offers
    while offers:
        order += [one.job_id for one in offers]
        offers = (await runner.cycle(*(ending("settle", one) for one in offers))).offers
    assert sorted(order) == ["first", "second"], "neither waits for what the other has"


@pytest.mark.req("SCH-4")
async def test_interrupt_pauses_one_that_is_ready(world: World) -> None:
    await world.runner(slots=2)
    await world.ask(job("ready"))
    assert codes(await world.ask(job("new", "interrupt"))) == [READY]
    assert await world.state("ready") is PAUSED


@pytest.mark.req("SCH-4")
async def test_the_policy_is_the_settings_where_the_spec_says_none(world: World) -> None:
    world.policy = policy(session_policy="reject")
    await world.pool()
    assert codes(await world.ask(job("one"), job("two"), job("three", "enqueue"))) == [
        WAITS,
        ErrorCode.SESSION_BUSY,
        WAITS,
    ]


@pytest.mark.req("SCH-4")
async def test_sessions_of_two_tenants_are_two_sessions(world: World) -> None:
    await world.pool()
    answers = await world.ask(job("a", "reject", tenant="a"), job("b", "reject", tenant="b"))
    assert codes(answers) == [WAITS, WAITS]


@pytest.mark.req("SCH-4", "ADM-6")
async def test_a_policy_without_a_session_is_refused(world: World) -> None:
    await world.pool()
    (refused,) = await world.ask(spec(session_policy="reject"))
    assert isinstance(refused, Refused)
    assert (refused.code, (refused.details or {})["path"]) == (
        ErrorCode.INVALID_SPEC,
        "session_policy",
    )


@pytest.mark.req("SCH-4")
async def test_a_repeated_submission_meets_nobody(world: World) -> None:
    await world.pool()
    await world.ask(job("one", "replace"), job("two", "enqueue"))
    (answer,) = await world.ask(job("one", "replace"))
    assert isinstance(answer, Submitted)
    assert answer.duplicate
    assert await world.states(["one", "two"]) == [WAITS, WAITS]


@pytest.mark.req("SCH-4")
async def test_a_blocked_job_leaves_its_session_to_the_next(world: World) -> None:
    runner = await world.runner(slots=1)
    await world.ask(job("asks"), job("next"))
    (offer,) = (await runner.cycle()).offers
    (offer,) = (await runner.cycle(ending("ask", offer))).offers
    assert offer.job_id == "next"


@pytest.mark.req("SCH-4", "FBK-2")
async def test_a_dead_letter_that_is_replayed_is_bound_as_the_first_time(world: World) -> None:
    runner = await world.runner(slots=1)
    await world.ask(job("dies", concurrency_key="repo"), job("next"))
    (offer,) = (await runner.cycle()).offers
    await runner.end(ending("release", offer))
    await world.decide("dies", "fail")
    assert await claimed(runner) == ["next"]
    (made,) = await world.store.dead_letters.replay(["dies"], by="me")
    fields = await world.fields(made.replayed_as or "")
    assert (fields["ties"], fields["aside"]) == ("k:repo s:chat", "s:chat")


@pytest.mark.req("SCH-4")
async def test_a_job_that_waits_for_its_time_does_not_hold_up_its_session(world: World) -> None:
    await world.pool()
    later = await world.now_ms() + 3_600_000
    answers = await world.ask(job("later", not_before_ms=later), job("now"))
    assert codes(answers) == [State.SCHEDULED, WAITS]
    assert "aside" not in await world.fields("now")
