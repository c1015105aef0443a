"""A server that dies, comes back, or comes back with less: noticed, survived, counted."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from contracts.errors import ErrorCode, Misuse, Refused
from contracts.states import State
from orch.core.handover import Working
from orch.store.connection import Connection, Watermark
from orch.store.embedded import Server, private_server
from orch.store.library import SCHEMA, library
from orch.system import SystemClock
from tests.store.world import HOUR_MS, World, ending

CLOCK = SystemClock()


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[World]:
    connection = Connection(server.url, CLOCK)
    yield World(connection)
    await connection.aclose()


@pytest.mark.req("LSE-1", "LSE-6")
async def test_a_restart_is_another_incarnation_without_loss_and_claims_of_before_still_count(
    tmp_path: Path,
) -> None:
    async with private_server(tmp_path, appendfsync="no") as server, client_of(server) as world:
        runner = await world.runner(slots=2)
        await world.submit_many("job", 2)
        first = await runner.claim_one()
        mark = world.connection.watermark
        assert (mark.incarnation, mark.restarts) == (1, 0)
        connection = world.connection
    async with private_server(tmp_path, appendfsync="no") as server:
        connection = Connection(server.url, CLOCK)
        connection.watermark = mark
        runner.store = World(connection).store
        work = Working(first.job_id, first.claim, first.epoch, first.attempt, 0, "")
        assert await runner.store.claims.reclaim(runner.runner_id, "default", [work]) == [True]
        second = await runner.claim_one()
        assert (mark.incarnation, mark.restarts, mark.lost_writes) == (2, 1, 0)
        assert (second.claim.split(".")[0], second.epoch > first.epoch) == ("2", True)
        await runner.end(ending("settle", first))
        assert await World(connection).state(first.job_id) is State.COMPLETED
        await connection.aclose()


@pytest.mark.req("LSE-1")
async def test_acknowledged_writes_that_a_rolled_back_server_lost_are_counted(
    tmp_path: Path,
) -> None:
    home, backup = tmp_path / "home", tmp_path / "backup"
    async with private_server(home, appendfsync="no") as server, client_of(server) as world:
        await world.pool()
        await world.submit("kept")
        mark = world.connection.watermark
        kept = mark.seq
    shutil.copytree(home / "data", backup)
    async with private_server(home, appendfsync="no") as server:
        connection = Connection(server.url, CLOCK)
        connection.watermark = mark
        for n in range(5):
            await World(connection).submit(f"lost{n}")
        seen = (mark.incarnation, mark.seq)
        await connection.aclose()
    shutil.rmtree(home / "data")
    shutil.copytree(backup, home / "data")
    async with private_server(home, appendfsync="no") as server:
        connection = Connection(server.url, CLOCK)
        connection.watermark = mark
        await connection.execute("PING")
        # A call whose answer was lost and its repeat are two writes.
        assert (mark.lost_writes, mark.incarnation > seen[0], mark.seq) == (
            seen[1] - kept,
            True,
            kept,
        )
        assert mark.lost_writes >= 5
        with pytest.raises(Refused) as refused:
            await World(connection).store.reading.job("lost0")
        assert refused.value.code is ErrorCode.NOT_FOUND
        await connection.aclose()


@pytest.mark.req("ADM-1", "JOB-3")
async def test_calls_survive_a_server_that_is_killed_and_started_again_meanwhile(
    tmp_path: Path,
) -> None:
    async with private_server(tmp_path) as server:
        connection = Connection(server.url, CLOCK, deadline_ms=20_000)
        world = World(connection)
        await world.pool()
        answers: list[str] = []
        dead = anyio.Event()

        async def submit() -> None:
            for n in range(40):
                answers.append((await world.submit(f"job{n:02}")).job_id)
                if n == 10:
                    os.kill(server.pid, signal.SIGKILL)
                    await server.died()
                    dead.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit)
            await dead.wait()
            # The home's owner starts its server anew, as the supervisor does; the address stays.
            async with _again(tmp_path, server):
                while len(answers) < 40:
                    await CLOCK.sleep_ms(1)
                assert await world.redis("ZCARD", connection.keys.jobs("default")) == 40
                assert (connection.watermark.restarts, connection.watermark.lost_writes) == (1, 0)
                await connection.aclose()


@asynccontextmanager
async def _again(home: Path, dead: Server) -> AsyncIterator[Server]:
    """A second server on the data of one that died, where clients look for it."""
    other = home / "again"
    shutil.copytree(home / "data", other / "data", ignore=shutil.ignore_patterns("*.sock"))
    async with private_server(other) as server:
        old = Path(dead.url.removeprefix("unix://"))
        old.unlink(missing_ok=True)
        old.symlink_to(server.url.removeprefix("unix://"))
        yield server


@pytest.mark.req("LSE-1")
async def test_the_same_server_greets_every_new_socket_with_the_same_incarnation(
    world: World,
) -> None:
    found = await world.hello(1, SCHEMA)
    assert found[1] == world.connection.watermark.incarnation == 1
    before = await world.contents()
    assert await world.hello(1, SCHEMA) == found
    assert await world.contents() == before


@pytest.mark.req("LSE-1")
@pytest.mark.first_answers
async def test_a_client_that_saw_a_later_incarnation_makes_the_server_skip_it(world: World) -> None:
    found = await world.hello(7, SCHEMA)
    assert found[1] == 8
    runner, offer = await world.running("job")
    assert offer.claim.startswith("8.")
    assert await runner.end(ending("settle", offer)) == ["ok"]


@pytest.mark.first_answers
async def test_data_of_a_newer_orch_refuse_an_older_writer(world: World) -> None:
    await world.redis("HSET", world.connection.keys.meta, "schema", SCHEMA + 1)
    before = await world.contents()
    reply = await world.hello(1, SCHEMA)
    assert reply == ["newer_schema", SCHEMA + 1]
    with pytest.raises(Exception, match="newer schema"):
        world.connection.greeted(reply)
    assert await world.contents() == before


@pytest.mark.first_answers
async def test_from_the_first_newer_writer_on_an_older_one_is_refused_also_without_a_restart(
    world: World,
) -> None:
    seen = (await world.hello(0, SCHEMA))[1]
    newer = await world.hello(seen, SCHEMA + 1)
    assert newer[:2] == ["ok", seen]
    assert await world.hello(seen, SCHEMA) == ["newer_schema", SCHEMA + 1]
    assert (await world.hello(seen, SCHEMA + 1))[:2] == ["ok", seen]


async def test_a_real_client_of_an_older_orch_cannot_even_connect(tmp_path: Path) -> None:
    async with private_server(tmp_path, appendfsync="no") as server, client_of(server) as world:
        await world.redis("HSET", world.connection.keys.meta, "schema", SCHEMA + 1)
        async with client_of(server) as older:
            with pytest.raises(Misuse):
                await older.pool()


@pytest.mark.req("LSE-1")
@pytest.mark.first_answers
async def test_only_the_servers_own_count_moves_the_watermark(world: World) -> None:
    runner = await world.runner(slots=1)
    now = await world.now_ms()
    await world.submit("soon", not_before_ms=now + 100)
    await world.submit("later", not_before_ms=now + HOUR_MS)
    await world.submit_many("job", 3)
    handled = 0
    while not handled:
        handled, *_ = await world.store.timers.due(most=10)
    await world.store.timers.dispatch("default", most=10)
    await runner.cycle()
    await world.bury(runner)
    mark = world.connection.watermark
    assert mark.seq <= int(await world.redis("HGET", world.connection.keys.meta, "seq"))


@pytest.mark.req("LSE-1")
@pytest.mark.parametrize(
    ("seen", "greeting", "lost"),
    [
        ((3, 100), (3, 90, -1, "3:a"), 0),  # another socket to the same server, a reply overtaken
        ((3, 100), (4, 100, 100, "4:b 3:a"), 0),  # a restart that kept all
        ((3, 100), (4, 90, 90, "4:b 3:a"), 10),  # a restart that lost ten
        (
            (3, 100),
            (6, 500, 100, "6:b 4:x 3:a"),
            0,
        ),  # three restarts later, nothing lost before the first
        ((3, 100), (6, 500, 70, "6:b 4:x 3:a"), 30),
        ((0, 0), (9, 500, -1, "9:b 8:x"), 0),  # the first greeting of a new process
    ],
)
def test_a_loss_is_what_the_next_incarnation_began_without(
    seen: tuple[int, int], greeting: tuple[int, int, int, str], lost: int
) -> None:
    mark = Watermark(*seen, met={seen[0]: "a"})
    mark.greeted(*greeting)
    assert mark.lost_writes == lost
    assert mark.restarts == (1 if seen[0] and seen[0] != greeting[0] else 0)
    assert (mark.incarnation, mark.known) == (greeting[0], greeting[3])
    assert mark.seq == (seen[1] if seen[0] in {0, greeting[0]} else greeting[1])


async def at(world: World, **fields: str | int) -> None:
    """The data of a server whose last greeting was another run's."""
    meta = world.connection.keys.meta
    await world.redis("DEL", meta)
    pairs = [word for name, value in fields.items() for word in (name.replace("_at_", ":"), value)]
    await world.redis("HSET", meta, *pairs)


@pytest.mark.req("LSE-1")
async def test_a_loss_is_proven_over_an_incarnation_that_was_lost_itself(world: World) -> None:
    # 13 wrote on; 14 began, and was rolled back as well; 15 is what the client meets.
    await at(
        world,
        incarnation=15,
        run_id="old",
        seq=2040,
        began_at_13=2000,
        run_at_13="x",
        began_at_15=2037,
    )
    greeting = await world.hello(13, SCHEMA, known="x")
    assert greeting[4] == 2037
    mark = Watermark(13, 2057, met={13: "x"})
    mark.greeted(greeting[1], greeting[2], greeting[4], greeting[5])
    assert mark.lost_writes == 20


@pytest.mark.req("LSE-1")
async def test_a_number_that_was_given_twice_is_told_apart_by_its_run(world: World) -> None:
    # The client wrote in the second incarnation of run x; the data went back, and somebody who had only
    # seen the first was greeted first: run y is the second incarnation as well.
    run_id = (await world.hello(0, SCHEMA))[3]
    await at(
        world, incarnation=2, run_id=run_id, seq=60, began_at_1=0, began_at_2=5, run_at_2=run_id
    )
    greeting = await world.hello(2, SCHEMA, known="x")
    assert (greeting[1], greeting[4]) == (3, 5)
    mark = Watermark(2, 25, met={2: "x"})
    mark.greeted(greeting[1], greeting[2], greeting[4], greeting[5])
    assert (mark.restarts, mark.lost_writes) == (1, 20)
    # Who wrote in run y is greeted by a third incarnation and has lost nothing.
    other = Watermark(2, 60, met={2: run_id})
    greeting = await world.hello(2, SCHEMA, known=run_id)
    other.greeted(greeting[1], greeting[2], greeting[4], greeting[5])
    assert (other.restarts, other.lost_writes) == (1, 0)


@pytest.mark.req("LSE-1")
async def test_what_is_acknowledged_under_a_number_that_others_raised_counts_too(
    world: World,
) -> None:
    mark = world.connection.watermark
    await world.pool()
    # Somebody who had met a later incarnation greets the same server; our socket stays open.
    await world.hello(mark.incarnation + 3, SCHEMA)
    await world.submit("job")
    seq = int(await world.redis("HGET", world.connection.keys.meta, "seq"))
    assert (mark.incarnation, mark.seq, mark.lost_writes) == (5, seq, 0)
    mark.greeted(6, seq - 1, seq - 1, "6:another")
    assert mark.lost_writes == 1


@pytest.mark.req("LSE-1")
async def test_a_loss_is_proven_when_all_numbers_since_were_given_again(world: World) -> None:
    # Acknowledged in runs x2 and x3, both gone; runs y2 and y3 have their numbers and more writes.
    run_id = (await world.hello(0, SCHEMA))[3]
    await at(
        world, incarnation=3, run_id=run_id, seq=90, began_at_1=0, run_at_1="x1",
        began_at_2=5, run_at_2="y2", began_at_3=80, run_at_3=run_id,
    )  # fmt: skip
    mark = Watermark(3, 25, met={1: "x1", 2: "x2", 3: "x3"})
    greeting = await world.redis(
        "FCALL", library().function("hello"), 1, world.connection.keys.prefix, 3, mark.known, SCHEMA
    )
    mark.greeted(greeting[1], greeting[2], greeting[4], greeting[5])
    assert (mark.incarnation, mark.lost_writes) == (4, 20)


@pytest.mark.req("LSE-1")
async def test_who_came_late_proves_a_loss_that_goes_back_behind_all_it_met(world: World) -> None:
    """It met only the newest incarnation; the data went back behind that, and others were greeted first."""
    run_id = (await world.hello(0, SCHEMA))[3]
    await at(world, incarnation=3, run_id="c", seq=52, run_at_1="a", run_at_2="b", run_at_3="c")
    function, prefix = library().function("hello"), world.connection.keys.prefix
    mark = Watermark()
    # Two restarts, each found by somebody who had seen as many.
    await world.redis("FCALL", function, 1, prefix, 4, "", SCHEMA)
    greeting = await world.redis("FCALL", function, 1, prefix, 6, "", SCHEMA)
    mark.greeted(greeting[1], greeting[2], greeting[4], greeting[5])
    assert mark.known == f"7:{run_id} 5:{run_id} 3:c 2:b 1:a"
    mark.acknowledged(7, 57)
    await at(world, incarnation=3, run_id="c", seq=52, run_at_1="a", run_at_2="b", run_at_3="c")
    await world.redis("FCALL", function, 1, prefix, 3, "", SCHEMA)
    await world.redis("HSET", world.connection.keys.meta, "seq", 90)
    greeting = await world.redis("FCALL", function, 1, prefix, mark.incarnation, mark.known, SCHEMA)
    mark.greeted(greeting[1], greeting[2], greeting[4], greeting[5])
    assert (mark.restarts, mark.lost_writes) == (1, 5)
