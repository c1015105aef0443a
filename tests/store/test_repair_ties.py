"""Ties are rebuilt from the job hashes, and nobody who stands aside is forgotten; the fixture's invariants
must hold again after each test."""

from __future__ import annotations

import pytest

from contracts.events import EventType
from contracts.states import State
from tests.store.test_repair import sweep
from tests.store.world import Runner, World, ending, policy, spec

pytestmark = pytest.mark.first_answers  # what a sweep says that it mended

WAITS, READY = State.QUEUED, State.READY


async def tied(world: World) -> Runner:
    """A runner with one job of a key, one of a session, two of a limited tenant; others wait for each."""
    world.policy = policy(tenant_running_max=2)
    runner = await world.runner(slots=9)
    await world.submit_many("k", 4, concurrency_key="repo", tenant="a")
    await world.submit_many("s", 4, session="chat", tenant="b")
    await world.submit_many("t", 4, tenant="c")
    assert len((await runner.cycle()).offers) == 4
    return runner


@pytest.mark.req("REA-3", "SCH-4")
async def test_sound_ties_are_left_as_they_are(world: World) -> None:
    await tied(world)
    before = await world.contents()
    assert await sweep(world) == []
    assert await world.contents() == before


LOST = {
    "active:a:k:repo": [("active", "k0000")],
    "active:b:s:chat": [("active", "s0000")],
    "active:c:t": [("active", "t0000"), ("active", "t0001")],
    "keyed:a:repo": [("keyed", f"k000{n}") for n in range(4)],
    "aside:a:k:repo": [("aside", "k0001"), ("aside", "k0002"), ("aside", "k0003")],
    "aside:b:s:chat": [("aside", "s0001"), ("aside", "s0002"), ("aside", "s0003")],
    "session:b:chat": [("session", f"s000{n}") for n in range(4)],
    "sessions:b": [("sessions", "chat")],
    "parked:c": [("turn", "t0002")],
}


@pytest.mark.req("REA-3", "SCH-4")
@pytest.mark.parametrize("index", LOST)
async def test_a_tie_that_was_lost_is_rebuilt(world: World, index: str) -> None:
    await tied(world)
    before = await world.contents()
    name = world.connection.keys.prefix + index
    assert await world.redis("DEL", name) == 1
    assert sorted(await sweep(world)) == sorted(LOST[index])
    await world.store.timers.dispatch("default", most=10)
    assert await sweep(world) == []
    mended = (await world.contents())[name]
    assert mended == before[name]
    if index.startswith(("active", "aside", "keyed", "session:")):
        told = (await world.ledger(LOST[index][0][1]))[-1]
        assert told.type is EventType.REPAIRED
        assert told.payload["index"] == index.partition(":")[0]


@pytest.mark.req("REA-3", "SCH-4")
async def test_one_place_lost_from_an_aside_list_is_there_again(world: World) -> None:
    await tied(world)
    aside = world.connection.keys.aside("a", "k:repo")
    assert await world.redis("LREM", aside, 1, (await world.redis("LRANGE", aside, 1, 1))[0]) == 1
    assert await sweep(world) == [("aside", "k0002")]
    found = await world.redis("LRANGE", aside, 0, -1)
    assert [entry.partition(":")[0] for entry in found] == ["k0001", "k0002", "k0003"]


@pytest.mark.req("REA-3", "SCH-4")
async def test_a_tie_of_a_job_that_is_gone_goes_to_the_next(world: World) -> None:
    runner = await tied(world)
    keys = world.connection.keys
    await world.redis("SADD", keys.active("a", "k:other"), "nobody")
    await world.redis("ZADD", keys.session("b", "chat"), 1, "nobody")
    await world.redis("SADD", keys.keyed("a", "repo"), "nobody")
    assert sorted(await sweep(world)) == [
        ("active", "nobody"), ("keyed", "nobody"), ("session", "nobody"),
    ]  # fmt: skip
    assert (await runner.cycle()).offers == []


@pytest.mark.req("REA-3", "SCH-4")
@pytest.mark.parametrize("tie", ["a k:repo", "b s:chat"])
async def test_who_waits_for_a_tie_that_nobody_has_is_called_in(world: World, tie: str) -> None:
    await tied(world)
    tenant, name = tie.split()
    active = world.connection.keys.active(tenant, name)
    (holder,) = await world.redis("SMEMBERS", active)
    # Half of a call: the job ended, and nobody was called in.
    await world.redis("DEL", active)
    for job_id in (f"{holder[0]}0001", f"{holder[0]}0002"):
        assert await world.state(job_id) is WAITS
    await world.redis("SADD", active, "nobody")
    await world.redis("HSET", world.connection.keys.job(holder), "ties", "t")
    await sweep(world)
    assert await world.state(f"{holder[0]}0001") is READY
    world.half_written = True


@pytest.mark.req("SCH-4")
async def test_a_limit_set_while_jobs_run_counts_them_after_a_sweep(world: World) -> None:
    runner = await world.runner(slots=9)
    await world.submit_many("t", 4, tenant="c")
    offers = (await runner.cycle(free=2)).offers
    rest = (await runner.cycle(free=2)).offers
    await world.wish(tenant__c__running_max=3)
    await world.submit("later", tenant="c")
    await runner.end(*(ending("settle", one) for one in (*offers, *rest)[:1]))
    await sweep(world)
    await world.submit("last", tenant="c")
    assert await world.state("last") is WAITS


@pytest.mark.req("REA-3", "SCH-4")
async def test_a_session_that_has_no_live_job_is_listed_no_more(world: World) -> None:
    await tied(world)
    sessions = world.connection.keys.sessions("b")
    await world.redis("ZADD", sessions, 99, "gone")
    assert await sweep(world) == [("sessions", "gone")]
    assert await world.redis("ZRANGE", sessions, 0, -1) == ["chat"]


@pytest.mark.req("SCH-4")
@pytest.mark.parametrize("tie", ["key", "tenant"])
async def test_a_limit_that_was_raised_is_used_after_a_sweep(world: World, tie: str) -> None:
    await tied(world)
    if tie == "key":
        await world.wish(key__a__repo__running_max=2)
    else:
        await world.wish(tenant__c__running_max=3)
    await sweep(world)
    waiting = "k0001" if tie == "key" else "t0002"
    assert await world.state(waiting) is READY


@pytest.mark.req("REA-2", "SCH-4")
async def test_no_tie_is_lost_by_a_burial(world: World) -> None:
    runner = await tied(world)
    await world.bury(runner)
    for job_id in ("k0000", "s0000", "t0000", "t0001"):
        await world.decide(job_id, "fail")
    heir = await world.runner(slots=9)
    found = sorted(offer.job_id for offer in (await heir.cycle()).offers)
    assert found == ["k0001", "s0001", "t0002", "t0003"]


@pytest.mark.req("REA-3", "SCH-4")
async def test_everything_about_ties_at_once(world: World) -> None:
    await tied(world)
    for name in await world.redis("KEYS", "*"):
        family = name.removeprefix(world.connection.keys.prefix).partition(":")[0]
        if family in {"active", "aside", "session", "sessions", "parked"}:
            await world.redis("DEL", name)
    await world.ask(spec(id="new", session="chat", tenant="b"), spec(id="other", tenant="b"))
    await sweep(world)
    assert [one for one in await sweep(world) if one[0] != "turn"] == []
