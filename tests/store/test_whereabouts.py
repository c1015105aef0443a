"""A shard on a real Cluster and behind real Sentinels: found, followed, spoken to like any other."""

from __future__ import annotations

import itertools
import socketserver
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from contracts.errors import Unavailable
from contracts.states import State
from orch.ports import Heard
from orch.store.connection import Connection
from orch.store.engine import find_engine
from orch.store.keeper import Keeper
from orch.system import SystemClock
from tests.store.certificates import guarded_server
from tests.store.cluster import Cluster, Node, Watched, cluster, free_port, node, until, watched
from tests.store.world import World, ending

pytestmark = [
    pytest.mark.first_answers,
    pytest.mark.timeout(120),
]  # servers of its own, with faults of their own
FAILOVER_MS = 30_000
HANDOVER_POLLS = 600
"""Of 10 ms: servers give a planned failover five seconds."""
MOVED = r"the shard's slot moves: \d+ 127\.0\.0\.1"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Cluster; the test that kills one of its nodes comes last."""
    with cluster(find_engine(), tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Watched]:
    """A primary under Sentinels."""
    with watched(find_engine(), tmp_path) as made:
        yield made


def hears(beats: threading.Semaphore) -> Heard:
    """Counts what a keeper hears confirmed."""

    def confirm(_sent_ms: int, _lease_ms: int) -> None:
        beats.release()

    return Heard(confirm, over=lambda: None, forgotten=lambda: None)


async def a_life(world: World, job_id: str) -> None:
    """A job from submission to settlement, by a runner of its own."""
    runner, offer = await world.running(job_id)
    assert await runner.end(ending("settle", offer)) == ["ok"]
    await world.store.leases.leave(runner.runner_id)
    assert (await world.store.reading.job(job_id)).state is State.COMPLETED


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize("shard", [0, 1, 2, 3])
async def test_each_shard_lives_on_the_node_that_serves_its_slot(
    house: Cluster, shard: int
) -> None:
    connection = Connection(house.url, SystemClock(), shard=shard)
    try:
        await a_life(World(connection), "job")
    finally:
        await connection.aclose()
    key = connection.keys.job("job")
    assert house.serving(shard).say("EXISTS", key) == 1


async def outlives(world: World, primary: Node, replica: Node) -> None:
    """A life, the primary's end, another life: calls and beats go on at the replica, with all that was."""
    url, beats = world.connection.url, threading.Semaphore(0)
    runner = await world.runner()
    keeper = Keeper(url, runner.runner_id, hears(beats), shard=0, lease_ms=1_500)
    try:
        await a_life(world, "before")
        keeper.start()
        assert beats.acquire(timeout=30)
        await world.redis("WAIT", 1, 10_000)
        primary.kill()
        await world.submit("after")
        while beats.acquire(blocking=False):
            pass
        assert beats.acquire(timeout=30)
        assert (await world.store.reading.job("before")).state is State.COMPLETED
    finally:
        keeper.stop()
        await world.connection.aclose()
    assert replica.say("ROLE")[0] == "master"
    assert replica.say("EXISTS", world.connection.keys.job("after")) == 1


@pytest.mark.req("DEP-2", "LSE-3")
async def test_sentinels_lead_to_the_new_primary_after_the_old_one_died(guarded: Watched) -> None:
    connection = Connection(guarded.url, SystemClock(), deadline_ms=FAILOVER_MS)
    await outlives(World(connection), guarded.primary, guarded.replica)


def hand_over(old: Node, new: Node) -> None:
    """As operators do it; asked again when the nodes were too busy to agree in time."""
    until(lambda: new.is_in_step)
    for n in itertools.count():
        if n % HANDOVER_POLLS == 0:
            new.say("CLUSTER", "FAILOVER")
        if old.say("ROLE")[0] == "slave":
            return
        threading.Event().wait(0.01)


async def led_on(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Asks again as actors do: for a moment nodes may still name the old one."""
    while True:
        with suppress(Unavailable):
            return await ask()
        await anyio.sleep(0.02)


@pytest.mark.req("DEP-2", "LSE-3")
async def test_who_reads_from_a_node_that_hands_its_slots_over_is_led_to_the_new_one(
    house: Cluster,
) -> None:
    connection = Connection(house.url, SystemClock(), deadline_ms=FAILOVER_MS)
    stream = connection.keys.control
    reader = connection.reader(1_000)
    await connection.execute("XADD", stream, "*", "n", "0")
    try:
        for old, new in ((house.serving(), house.replica), (house.replica, house.serving())):
            assert await reader.read("XREAD", "STREAMS", stream, "0")
            hand_over(old, new)
            with pytest.raises(Unavailable, match=MOVED):  # it passes: actors come again
                await connection.once("XLEN", stream)
            assert await led_on(partial(connection.once, "XLEN", stream)) == 1
            with pytest.raises(Unavailable, match=MOVED):
                await reader.read("XREAD", "STREAMS", stream, "0")
            assert await led_on(partial(reader.read, "XREAD", "STREAMS", stream, "0"))
    finally:
        await connection.aclose()


@pytest.mark.req("DEP-2", "LSE-3")
async def test_a_cluster_that_promotes_a_replica_is_followed_by_calls_and_beats(
    house: Cluster,
) -> None:
    connection = Connection(house.url, SystemClock(), deadline_ms=FAILOVER_MS)
    await outlives(World(connection), house.serving(), house.replica)
    assert connection.watermark.restarts == 1


class Sentinel(socketserver.BaseRequestHandler):
    """Names the same primary for ever, as one does that is cut off from the others."""

    named: ClassVar[int]

    def handle(self) -> None:
        port = str(self.named).encode()
        while self.request.recv(4_096):
            self.request.sendall(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(port), port))


@contextmanager
def sentinel_naming(port: int) -> Iterator[int]:
    """Where it listens."""
    handler = type("Naming", (Sentinel,), {"named": port})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.mark.req("DEP-2", "LSE-3")
@pytest.mark.parametrize("old_is", ["gone", "a replica"])
async def test_who_knows_no_better_than_the_old_primary_does_not_keep_others_from_being_asked(
    tmp_path: Path, old_is: str
) -> None:
    with ExitStack() as stack:
        primary = stack.enter_context(node(find_engine(), tmp_path))
        old = free_port()
        if old_is == "a replica":
            words = ("--replicaof", f"127.0.0.1 {primary.port}")
            stack.enter_context(node(find_engine(), tmp_path, *words, port=old))
        ports = [stack.enter_context(sentinel_naming(port)) for port in (old, primary.port)]
        url = "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in ports) + "/orch"
        connection = Connection(url, SystemClock(), deadline_ms=10_000)
        try:
            assert await connection.execute("SET", "key", "value")
            runner, beats = await World(connection).runner(), threading.Semaphore(0)
            keeper = Keeper(url, runner.runner_id, hears(beats), shard=0, lease_ms=1_500)
            keeper.start()
            assert beats.acquire(timeout=10)
            keeper.stop()
        finally:
            await connection.aclose()


@pytest.mark.req("DEP-2")
async def test_over_tls_both_sides_show_certificates_and_a_stranger_is_refused(
    tmp_path: Path,
) -> None:
    with guarded_server(tmp_path) as server:
        connection = Connection(server.url(server.trust, server.mine), SystemClock())
        try:
            await a_life(World(connection), "job")
        finally:
            await connection.aclose()
        for url in (server.url(server.trust), server.url(server.mine)):
            stranger = Connection(url, SystemClock(), deadline_ms=500)
            try:
                with pytest.raises(Unavailable):
                    await stranger.execute("PING")
            finally:
                await stranger.aclose()
