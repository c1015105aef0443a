"""Calls that survive what happens to servers and links, and say what happened when they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.errors import Corrupt, Misuse, Unavailable
from contracts.states import State
from orch.core.handover import Pieces
from orch.store.connection import SOCKETS_MAX, Connection
from orch.store.embedded import private_server
from orch.store.library import library
from orch.system import SystemClock
from tests.store.engines import IN_MEMORY
from tests.store.proxy import Link
from tests.store.world import World, ending, spec

CLOCK = SystemClock()


class Unlucky(Connection):
    """A connection over a link that loses the first reply to every call of a verb."""

    link: Link

    async def call(self, verb: str, *args: str | int | float) -> list[Any]:
        self.link.lose = 1
        return await super().call(verb, *args)


async def life(world: World) -> list[str]:
    """A job's life through every verb of its attempts; returns its history."""
    runner, offer = await world.running("job")
    store = world.store
    await store.claims.note("job", offer.claim, number=1, event="agent_continued", payload={})
    await store.output.emit([Pieces("job", offer.claim, 1, [("stdout", "x")])])
    assert await runner.end(ending("release", offer)) in (["ok"], ["same"])
    await world.decide("job", "retry")
    again = await runner.claim_one()
    await store.steering.pause("job", by="me")
    await store.steering.resume("job", by="me")
    assert await runner.end(ending("ask", again)) in (["ok"], ["same"])
    answered = await store.questions.answer("job", "q1", "approve", by="me")
    assert answered.state is State.READY
    last = await runner.claim_one()
    await store.steering.cancel("job", by="me")
    assert await runner.end(ending("settle", last)) == ["over"]
    assert await store.leases.leave(runner.runner_id) == 0
    return [last.claim, *await world.story("job")]


@pytest.mark.req("ADM-1", "LSE-1", "LSE-2")
async def test_a_life_in_which_every_first_reply_is_lost_is_the_same_life(
    link: Link, world: World
) -> None:
    expected = await life(world)
    await world.redis("FLUSHALL")
    unlucky = Unlucky(link.url, CLOCK)
    unlucky.link = link
    try:
        unfortunate = World(unlucky)
        assert await life(unfortunate) == expected
        assert link.lost >= 10
        assert (unlucky.watermark.lost_writes, unlucky.watermark.restarts) == (0, 0)
    finally:
        await unlucky.aclose()


@pytest.mark.req("ADM-1")
async def test_a_reply_lost_in_silence_is_asked_for_again_within_the_deadline(
    link: Link, world: World
) -> None:
    await world.pool()
    impatient = Connection(link.url, CLOCK, deadline_ms=2_000)
    try:
        await impatient.execute("PING")
        link.how, link.lose = "silence", 1
        answer = await World(impatient).submit("job")
        assert (answer.duplicate, link.lost) == (False, 1)
    finally:
        await impatient.aclose()


@pytest.mark.req("ADM-1")
async def test_a_server_that_never_answers_is_unavailable_soon_after_the_deadline(
    link: Link,
) -> None:
    link.how, link.lose = "silence", 1_000_000
    impatient = Connection(link.url, CLOCK, deadline_ms=400)
    started = CLOCK.monotonic_ms()
    try:
        with pytest.raises(Unavailable):
            await impatient.call("declare", "a")
        assert CLOCK.monotonic_ms() - started < 20_000, "it gives up, however slow the machine"
    finally:
        await impatient.aclose()


@pytest.mark.req("ADM-1")
async def test_a_server_that_is_not_there_is_unavailable_within_the_deadline(
    tmp_path: Path,
) -> None:
    absent = Connection(f"unix://{tmp_path}/none.sock", CLOCK, deadline_ms=300)
    started = CLOCK.monotonic_ms()
    with pytest.raises(Unavailable):
        await absent.call("declare", "a")
    assert 100 < CLOCK.monotonic_ms() - started < 20_000
    with pytest.raises(Unavailable):
        await absent.ping()
    await absent.aclose()


@pytest.mark.req("ADM-1")
async def test_a_call_that_was_begun_is_finished_although_its_caller_is_canceled(
    world: World,
) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await world.connection.call("declare", "a")
    assert await world.store.timers.pools() == ["a"]


def needs_lua(world: World) -> None:
    if "model" in world.connection.url:
        pytest.skip("the model runs no Lua")


@pytest.mark.req("REA-3")
async def test_flushed_functions_are_loaded_again_and_a_foreign_library_stays(world: World) -> None:
    needs_lua(world)
    await world.redis("FUNCTION", "FLUSH")
    foreign = (
        "#!lua name=orch_older\nredis.register_function('admit_older', function() return 1 end)"
    )
    await world.redis("FUNCTION", "LOAD", "REPLACE", foreign)
    await world.pool("a")
    assert await world.store.timers.pools() == ["a"]
    assert await world.redis("FCALL", "admit_older", 0) == 1


@pytest.mark.req("REA-3")
async def test_a_library_of_our_name_with_another_text_is_replaced(world: World) -> None:
    needs_lua(world)
    name = library().name
    wrong = f"#!lua name={name}\nredis.register_function('other', function() return 1 end)"
    await world.redis("FUNCTION", "LOAD", "REPLACE", wrong)
    await world.pool("a")
    assert await world.store.timers.pools() == ["a"]


async def test_a_verb_that_the_library_does_not_have_is_misuse(world: World) -> None:
    with pytest.raises(Misuse, match="no verb 'nonsense'"):
        await world.connection.call("nonsense")


@pytest.mark.req("ADM-2", "LSE-2")
async def test_without_memory_nothing_is_admitted_and_everything_begun_is_recorded(
    link: Link, world: World
) -> None:
    runner = await world.runner(slots=5)
    await world.submit_many("job", 4)
    held = (await runner.cycle(free=4)).offers
    poor = Connection(link.url, CLOCK, deadline_ms=200)
    await world.redis("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            await World(poor).submit("new")
        verbs = ("settle", "release", "ask", "handback")
        endings = [ending(verb, offer) for verb, offer in zip(verbs, held, strict=True)]  # type: ignore[arg-type]  # a verb by name
        await runner.end(*endings)
        await world.decide(held[1].job_id, "fail")
        again = await runner.claim_one()
        await world.store.claims.note(
            again.job_id, again.claim, number=1, event="agent_continued", payload={}
        )
        await world.bury(runner)
        assert runner.runner_id not in await world.store.leases.beats()
    finally:
        await world.redis("CONFIG", "SET", "maxmemory", 0)
        await poor.aclose()
    assert await world.redis("EXISTS", world.connection.keys.job("new")) == 0
    assert await world.states([offer.job_id for offer in held[:3]]) == [
        State.COMPLETED, State.FAILED, State.BLOCKED,
    ]  # fmt: skip


@pytest.mark.req("REA-3")
@pytest.mark.first_answers  # a blocking read is repeated by who made it
async def test_a_reader_whose_stream_goes_away_while_it_waits_may_read_again(
    world: World, engine: str
) -> None:
    if engine in IN_MEMORY:
        pytest.skip("engines in memory do not wake a reader for that")
    await world.runner()
    keys = world.connection.keys
    reader = world.connection.reader(30_000)
    command = (
        "XREADGROUP",
        "GROUP",
        "runners",
        "r",
        "BLOCK",
        30_000,
        "STREAMS",
        keys.wake("default"),
        ">",
    )

    async def read() -> None:
        # Redis 7.0 says UNBLOCKED, later ones NOGROUP: the actor waits, registers, goes on.
        with pytest.raises(Unavailable):
            await reader.read(*command)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            while (await world.redis("INFO", "clients"))["blocked_clients"] == 0:
                await anyio.sleep(0.01)
            await world.redis("DEL", keys.wake("default"))


@pytest.mark.req("REA-3")
@pytest.mark.first_answers
async def test_reading_a_group_that_is_gone_is_unavailable_and_registering_brings_it_back(
    world: World, engine: str
) -> None:
    if engine in IN_MEMORY:
        pytest.skip("engines in memory say it in other words")
    reader = world.connection.reader(100)
    command = (
        "XREADGROUP",
        "GROUP",
        "runners",
        "r",
        "COUNT",
        1,
        "STREAMS",
        world.connection.keys.wake("default"),
        ">",
    )
    with pytest.raises(Unavailable, match="NOGROUP"):
        await reader.read(*command)
    await world.runner()
    assert await reader.read(*command) == {}
    await world.submit("job")
    ((_, fields),) = (await reader.read(*command))[world.connection.keys.wake("default")]
    assert fields == {"pool": "default"}


async def test_a_broken_key_stops_the_call_and_harms_no_other(world: World) -> None:
    await world.pool()
    await world.redis("SET", world.connection.keys.job("broken"), "x")
    before = await world.contents()
    with pytest.raises(Corrupt):
        await world.ask(spec(id="fine"), spec(id="broken"))
    assert await world.contents() == before
    await world.redis("DEL", world.connection.keys.job("broken"))


@pytest.mark.req("EVT-3")
@pytest.mark.first_answers
async def test_a_rush_of_calls_waits_for_sockets_and_none_is_refused(tmp_path: Path) -> None:
    async with private_server(tmp_path, appendfsync="no") as server:
        connection = Connection(server.url, CLOCK)
        async with anyio.create_task_group() as tasks:
            for _ in range(10 * SOCKETS_MAX):
                tasks.start_soon(connection.ping)
        clients = await connection.execute("INFO", "clients")
        assert clients["connected_clients"] <= SOCKETS_MAX
        await connection.aclose()
