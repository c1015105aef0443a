"""What travels with a job for traces and logs: stored with its spec, seen by runner and fallback alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.record import Submitted
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.tracing import Carried
from tests.store.commanding import given
from tests.store.world import World, ending, spec

CARRIED = Carried(f"00-{'c' * 32}-{'d' * 16}-01", 'order "7"')


def ask(job_id: str, carried: Carried | None = CARRIED) -> Ask:
    return Ask(spec(id=job_id), carried=carried)


@pytest.mark.req("MET-3")
async def test_it_comes_with_every_claim_and_every_outcome_and_the_spec_is_what_it_was(
    world: World,
) -> None:
    await world.pool()
    await world.store.admission.admit([ask("job"), ask("plain", None)])
    runner = await world.runner(slots=2)
    job, plain = (await runner.cycle(free=2)).offers
    assert (job.carried, plain.carried) == (CARRIED, None)
    assert job.spec == plain.spec.replace('"plain"', '"job"')
    await runner.cycle(ending("release", job))
    found = await world.undecided("job")
    assert (found.carried, found.attempt, found.runner) == (CARRIED, 1, runner.runner_id)
    assert found.spec == job.spec
    await world.decide("job", "retry")
    again = (await runner.cycle(free=1)).offers[0]
    assert (again.attempt, again.carried, again.spec) == (2, CARRIED, job.spec)
    assert await world.store.reading.carried("job") == CARRIED
    assert await world.store.reading.carried("plain") is None


@pytest.mark.req("MET-3", "ADM-3")
async def test_it_is_no_part_of_the_content_so_the_same_job_again_is_the_same(world: World) -> None:
    await world.pool()
    other = Carried(f"00-{'e' * 32}-{'f' * 16}-01")
    first, again, none = await world.store.admission.admit(
        [ask("job"), ask("job", other), ask("job", None)]
    )
    assert isinstance(first, Submitted)
    assert isinstance(again, Submitted)
    assert isinstance(none, Submitted)
    assert (first.duplicate, again.duplicate, none.duplicate) == (False, True, True)
    assert await world.store.reading.carried("job") == CARRIED


@pytest.mark.req("MET-3", "PERF-3")
async def test_a_job_without_it_is_stored_as_ever(world: World) -> None:
    await world.pool()
    await world.store.admission.admit(
        [ask("plain", None), replace(ask("empty"), carried=Carried())]
    )
    for job_id in ("plain", "empty"):
        stored = await world.redis("HGET", world.connection.keys.job(job_id), "spec")
        assert "_carried" not in stored


@pytest.mark.req("MET-3")
async def test_moments_tell_when_what_happened(world: World) -> None:
    await world.pool()
    assert await world.store.reading.moments("job") is None
    await world.store.admission.admit([ask("job")])
    runner = await world.runner()
    waiting = await world.store.reading.moments("job")
    offer = (await runner.cycle(free=1)).offers[0]
    running = await world.store.reading.moments("job")
    await runner.cycle(ending("settle", offer))
    over = await world.store.reading.moments("job")
    assert waiting is not None
    assert running is not None
    assert over is not None
    assert (waiting.attempt, waiting.claimed_at_ms, waiting.finished_at_ms) == (0, None, None)
    assert (running.attempt, running.finished_at_ms, running.outcome) == (1, None, None)
    assert running.queued_at_ms is not None
    assert running.claimed_at_ms is not None
    assert running.made_at_ms <= running.queued_at_ms <= running.claimed_at_ms
    assert (over.state, over.outcome) == ("completed", "done")
    assert over.finished_at_ms is not None


@pytest.mark.req("MET-3")
@pytest.mark.first_answers
async def test_timers_name_the_jobs_that_they_ended(world: World) -> None:
    expired: list[str] = []
    world.connection.ended = expired.extend
    await world.pool()
    await world.submit("late", deadline_ms=await world.now_ms() + 20)
    await world.submit("early")
    while not expired:
        await world.store.timers.due(most=9)
    assert expired == ["late"]


@pytest.mark.req("MET-3")
@pytest.mark.first_answers
async def test_whoever_ends_jobs_hears_which(world: World) -> None:
    heard: list[str] = []
    world.connection.ended = heard.extend
    await world.pool()
    world.bounds = Bounds(2, full_policy="drop-lru")
    await world.submit_many("job", 2)
    await world.submit("newcomer")
    assert heard == ["job0000"]
    world.bounds = Bounds(9)
    for job_id in ("old", "new"):
        await world.submit(job_id, session="s", session_policy="replace")
    assert heard[1:] == ["old"]
    await world.store.steering.cancel("newcomer", by="me")
    assert heard[2:] == ["newcomer"]
    await given(world, "cancel", "pool:default", filter={})
    while await world.store.control.proceed():
        pass
    assert sorted(heard[3:]) == ["job0001", "new"]


@pytest.mark.req("MET-3", "FBK-4")
async def test_a_replayed_dead_letter_goes_on_in_its_trace(world: World) -> None:
    await world.pool()
    await world.store.admission.admit([Ask(spec(), carried=CARRIED, job_id="dead")])
    runner = await world.runner()
    await runner.end(ending("release", await runner.claim_one()))
    await world.decide("dead", "fail", payload={"last": "logic", "reason": "not_retried"})
    (replayed,) = await world.store.dead_letters.replay(["dead"], by="ops")
    assert replayed.replayed_as is not None
    assert await world.store.reading.carried(replayed.replayed_as) == CARRIED
