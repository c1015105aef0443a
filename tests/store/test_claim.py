"""Claims: exactly one runner, a fresh claim each time, a repeated call that answers alike."""

from __future__ import annotations

import anyio
import pytest

from contracts.errors import ErrorCode, Refused
from contracts.states import State
from tests.store.world import World, ending


@pytest.mark.req("LSE-1", "LSE-7")
async def test_a_ready_job_is_claimed_and_runs_under_a_fresh_claim(world: World) -> None:
    runner, offer = await world.running("job", inputs={"n": 1})
    incarnation, number, mark = offer.claim.split(".")
    assert (int(incarnation), mark) == (world.connection.watermark.incarnation, "r1")
    assert offer.epoch == int(incarnation) * 2**32 + int(number)
    assert (offer.attempt, offer.progress, offer.answer, offer.wish, offer.outs) == (
        1,
        "",
        "",
        "",
        0,
    )
    record = await world.store.reading.job("job")
    assert (record.state, record.attempt, record.epoch) == (State.RUNNING, 1, offer.epoch)
    assert record.lease is not None
    assert (record.lease.worker_id, record.lease.lease_id) == (runner.runner_id, offer.claim)
    assert record.lease.expires_at_ms == (record.lease.heartbeat_at_ms or 0) + 15_000
    assert await world.story("job") == ["admit", "dispatch", "claim"]
    assert await world.redis("XLEN", world.connection.keys.ready("default")) == 0


@pytest.mark.req("LSE-1", "SIM-5")
async def test_many_runners_at_once_claim_every_job_exactly_once(world: World) -> None:
    runners = [await world.runner(slots=25) for _ in range(8)]
    ids = await world.submit_many("job", 200)
    claimed: list[str] = []

    async def work(n: int) -> None:
        while True:
            offers = (await runners[n].cycle(free=7)).offers
            claimed.extend(offer.job_id for offer in offers)
            if not offers:
                return

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(work, n)
    assert sorted(claimed) == ids


@pytest.mark.req("LSE-1", "SCH-2")
async def test_a_runner_is_served_straight_from_the_line_and_the_others_through_ready(
    world: World,
) -> None:
    keys = world.connection.keys
    await world.pool()
    ids = await world.submit_many("job", 6)
    one, two = await world.runner(slots=2), await world.runner(slots=3)
    mine = (await one.cycle(free=2)).offers
    assert [offer.job_id for offer in mine] == ids[:2]
    assert [await world.state(job_id) for job_id in ids] == (
        [State.RUNNING] * 2 + [State.READY] * 3 + [State.QUEUED]
    )
    assert await world.redis("XLEN", keys.ready("default")) == 3
    assert await world.redis("XLEN", keys.wake("default")) == 2
    theirs = (await two.cycle(free=3)).offers
    assert [offer.job_id for offer in theirs] == ids[2:5]
    assert [await world.story(job_id) for job_id in (ids[0], ids[2])] == (
        [["admit", "dispatch", "claim"]] * 2
    )
    numbers = [int(offer.claim.split(".")[1]) for offer in (*mine, *theirs)]
    assert numbers == [1, 2, 3, 4, 5]


@pytest.mark.req("LSE-1", "SCH-2")
async def test_what_was_made_ready_before_goes_before_what_waits_in_line(world: World) -> None:
    runner = await world.runner(slots=1)
    ids = await world.submit_many("job", 3)
    first = await runner.claim_one()
    (second,) = (await runner.cycle(ending("settle", first), free=1)).offers
    other = await world.runner(slots=1)
    await world.store.timers.dispatch("default", most=1)
    third = await other.claim_one()
    assert [first.job_id, second.job_id, third.job_id] == ids


@pytest.mark.req("LSE-1")
async def test_a_claim_never_repeats_and_its_number_only_grows(world: World) -> None:
    runner, offer = await world.running("job")
    seen = [offer]
    for verb in ("handback", "release", "handback", "release"):
        await runner.end(ending(verb, seen[-1]))
        if verb == "release":
            await world.decide("job", "retry")
        seen.append(await runner.claim_one())
    await world.submit_many("more", 5)
    seen += (await (await world.runner(slots=5)).cycle()).offers
    assert len({one.claim for one in seen}) == len(seen) == 10
    epochs = [one.epoch for one in seen]
    assert epochs == sorted(set(epochs))


@pytest.mark.req("LSE-1", "RUN-7")
@pytest.mark.first_answers
async def test_the_same_call_number_gives_the_same_jobs_and_verdicts_again(world: World) -> None:
    runner = await world.runner(slots=3)
    await world.submit_many("job", 6)
    held = (await runner.cycle()).offers
    endings = [ending("settle", held[0]), ending("release", held[1])]
    first = await runner.cycle(*endings, free=2)
    before = await world.contents()
    again = await runner.cycle(*endings, free=2, number=runner.number)
    assert [list(one.judgements) for one in (first, again)] == [["ok", "ok"], ["same", "same"]]
    assert again.offers == first.offers
    assert len(first.offers) == 2
    assert await world.contents() == before


@pytest.mark.req("LSE-1")
async def test_a_job_canceled_before_its_lost_offer_is_repeated_holds_no_slot(world: World) -> None:
    runner = await world.runner(slots=1)
    await world.submit("job")
    await runner.cycle(free=1)  # the reply is lost
    await world.store.steering.cancel("job", by="me")
    again = await runner.cycle(free=1, number=runner.number)
    assert again.offers == []
    await world.submit("next")
    assert (await runner.claim_one()).job_id == "next"


@pytest.mark.req("LSE-2")
@pytest.mark.first_answers
async def test_a_settled_job_is_completed_and_its_slot_is_free(world: World) -> None:
    runner, offer = await world.running("job")
    assert await runner.end(ending("settle", offer)) == ["ok"]
    record = await world.store.reading.job("job")
    assert (record.state, record.outcome, record.result) == (
        State.COMPLETED,
        "done",
        {"answer": 42},
    )
    assert (record.lease, record.attempts[0].exit_code) == (None, 0)
    assert record.finished_at_ms is not None
    assert await world.redis("EXISTS", world.connection.keys.held(runner.runner_id)) == 0


@pytest.mark.req("LSE-2", "FBK-6")
@pytest.mark.parametrize(
    ("verb", "state", "story"),
    [
        ("settle", State.COMPLETED, ["settle"]),
        ("release", State.RUNNING, ["release"]),
        ("ask", State.BLOCKED, ["question_asked", "ask"]),
        ("handback", State.READY, ["handback", "dispatch"]),
        ("stop", State.READY, ["handback", "dispatch"]),
    ],
)
@pytest.mark.first_answers
async def test_an_ending_is_accepted_once_and_same_on_repetition(
    world: World, verb: str, state: State, story: list[str]
) -> None:
    runner, offer = await world.running("job")
    assert await runner.end(ending(verb, offer)) == ["ok"]  # type: ignore[arg-type]  # a verb by name
    after = await world.contents()
    assert (await world.state("job"), await world.story("job")) == (
        state,
        ["admit", "dispatch", "claim", *story],
    )
    record = await world.store.reading.job("job")
    assert [(one.attempt, one.outcome is None) for one in record.attempts] == [(1, False)]
    assert await runner.end(ending(verb, offer)) == ["same"]  # type: ignore[arg-type]  # a verb by name
    again = await world.contents()
    assert [name for name in after if again[name] != after[name]] == [
        f"{world.connection.keys.prefix}lastcall:{runner.runner_id}"
    ]


@pytest.mark.req("LSE-2")
@pytest.mark.parametrize("verb", ["settle", "release", "ask", "handback", "stop"])
async def test_an_old_claim_is_over_and_changes_nothing_but_the_evidence(
    world: World, verb: str
) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("handback", offer))
    second = await runner.claim_one()
    await runner.end(ending("handback", second))
    await runner.claim_one()
    before, length = await world.fields("job"), len(await world.ledger("job"))
    assert await runner.end(ending(verb, offer)) == ["over"]  # type: ignore[arg-type]  # a verb by name
    after, events = await world.fields("job"), await world.ledger("job")
    if verb != "settle":
        assert after == before
        return
    (orphan,) = events[length:]
    assert (orphan.type.value, orphan.payload) == (
        "orphaned_result",
        {"claim": offer.claim, "result": {"answer": 42}},
    )
    assert {name: after[name] for name in ("state", "claim", "ticket")} == {
        name: before[name] for name in ("state", "claim", "ticket")
    }
    assert await runner.end(ending("settle", offer)) == ["over"]
    assert len(await world.ledger("job")) == length + 1


@pytest.mark.req("LSE-2", "JOB-5")
@pytest.mark.drives("orphaned_result")
async def test_a_large_late_result_is_kept_by_its_digest(world: World) -> None:
    runner, offer = await world.running("job")
    await world.store.steering.cancel("job", by="me")
    await runner.end(ending("settle", offer, data='"' + "x" * 4_000 + '"'))
    orphan = (await world.ledger("job"))[-1]
    assert (orphan.type.value, orphan.payload["result"]["bytes"]) == ("orphaned_result", 4_002)


@pytest.mark.req("LSE-2")
async def test_a_claim_of_nobody_and_a_job_of_nobody_are_over(world: World) -> None:
    runner, offer = await world.running("job")
    before = await world.fields("job")
    wrong = [ending("release", offer, claim="1.1.no")]
    assert await runner.end(*wrong) == ["over"]
    await runner.end(ending("release", offer, claim=""))
    assert await world.fields("job") == before
    assert await world.state("job") is State.RUNNING


@pytest.mark.req("LSE-2", "JOB-6")
async def test_a_job_canceled_while_it_runs_is_over_and_keeps_its_slot_until_the_work_stopped(
    world: World,
) -> None:
    runner, offer = await world.running("job")
    await world.submit("next")
    await world.store.steering.cancel("job", by="me")
    inbox = await world.redis("XRANGE", world.connection.keys.inbox(runner.runner_id), "-", "+")
    assert [(entry["what"], entry["claim"]) for _, entry in inbox] == [("cancel", offer.claim)]
    assert (await runner.cycle(free=0)).offers == []
    assert await world.state("next") is State.QUEUED
    cycled = await runner.cycle(ending("release", offer))
    assert (list(cycled.judgements), [one.job_id for one in cycled.offers]) == (["over"], ["next"])
    assert await world.state("job") is State.CANCELED


@pytest.mark.req("LSE-2")
async def test_a_buried_runner_is_refused_and_nothing_it_says_is_taken(world: World) -> None:
    runner, offer = await world.running("job")
    beats = await world.store.leases.beats()
    await world.store.leases.bury(runner.runner_id, beats[runner.runner_id], age_ms=15_000, most=10)
    before = await world.contents()
    with pytest.raises(Refused) as refused:
        await runner.cycle(ending("settle", offer))
    assert refused.value.code is ErrorCode.LEASE_OVER
    assert await world.contents() == before


@pytest.mark.req("RUN-7")
@pytest.mark.first_answers
async def test_one_call_settles_dispatches_and_claims_a_thousand_jobs(world: World) -> None:
    runner = await world.runner(slots=1_000)
    await world.submit_many("a", 1_000)
    held = (await runner.cycle()).offers
    await world.submit_many("b", 1_000)
    cycled = await runner.cycle(*(ending("settle", offer) for offer in held))
    assert set(cycled.judgements) == {"ok"}
    assert (len(cycled.judgements), len(cycled.offers)) == (1_000, 1_000)


@pytest.mark.req("REA-3")
async def test_a_runner_claims_again_after_its_pools_stream_was_lost(world: World) -> None:
    world.half_written = True
    runner = await world.runner(slots=2)
    await world.submit("lost")
    await world.redis("DEL", world.connection.keys.ready("default"))
    await world.submit("job")
    assert (await runner.claim_one()).job_id == "job"


@pytest.mark.req("LSE-1")
async def test_a_second_claimant_finds_nothing(world: World) -> None:
    _, offer = await world.running("job")
    other = await world.runner(slots=1)
    before = await world.fields("job")
    assert (await other.cycle()).offers == []
    assert await world.fields("job") == before
    assert before["claim"] == offer.claim


@pytest.mark.req("LSE-2")
async def test_only_a_claim_that_was_given_here_can_be_over(world: World) -> None:
    runner, offer = await world.running("job")
    assert not await world.store.claims.is_over("job", offer.claim)
    assert not await world.store.claims.is_over("job", "1.1.anotherstack")
    assert not await world.store.claims.is_over("stranger", offer.claim)
    await runner.end(ending("handback", offer))
    assert await world.store.claims.is_over("job", offer.claim)
    assert not await world.store.claims.is_over("job", "1.1.anotherstack")


@pytest.mark.req("LSE-1", "SCH-7")
async def test_an_old_ticket_in_ready_gives_nobody_the_job(world: World) -> None:
    runner = await world.runner(slots=2)
    await world.submit("job")
    await world.store.steering.pause("job", by="me")
    await world.store.steering.resume("job", by="me")
    assert await world.redis("XLEN", world.connection.keys.ready("default")) == 2
    assert (await runner.cycle(free=1)).offers == []
    assert (await runner.claim_one()).job_id == "job"
