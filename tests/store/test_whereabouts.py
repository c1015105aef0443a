"""A shard on a real Cluster and behind real Sentinels: found, followed, spoken to like any other."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import Unavailable
from contracts.states import State
from orch.ports import Heard
from orch.store.connection import Connection
from orch.store.engine import Engine, engines, find_engine
from orch.store.keeper import Keeper
from orch.system import SystemClock
from tests.store.cluster import Cluster, Node, Watched, cluster, free_port, node, watched
from tests.store.world import World, ending

pytestmark = [
    pytest.mark.first_answers,
    pytest.mark.timeout(120),
]  # servers of its own, with faults of their own
FAILOVER_MS = 30_000


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


@pytest.mark.req("DEP-2", "LSE-3")
async def test_a_cluster_that_promotes_a_replica_is_followed_by_calls_and_beats(
    house: Cluster,
) -> None:
    connection = Connection(house.url, SystemClock(), deadline_ms=FAILOVER_MS)
    await outlives(World(connection), house.serving(), house.replica)
    assert connection.watermark.restarts == 1


def _certificates(folder: Path) -> None:
    """An authority, a server's certificate for loopback, a client's certificate."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.crt",
        )  # fmt: skip


def _with_tls() -> Engine | None:
    """A server program that speaks TLS, which misses a certificate here; the one in the wheel does not."""
    # Not from a file: to a server with a file the stand-ins of --timeouts give a socket.
    config = b"port 0\ntls-port 1\n"
    for engine in engines():
        said = subprocess.run(
            [engine.path, "-"], input=config, capture_output=True, check=False, timeout=10
        ).stdout
        if b"No tls-cert-file" in said:
            return engine
    return None


@pytest.mark.req("DEP-2")
async def test_over_tls_both_sides_show_certificates_and_a_stranger_is_refused(
    tmp_path: Path,
) -> None:
    engine = _with_tls()
    if engine is None or shutil.which("openssl") is None:
        pytest.skip("no server program with TLS here, or no openssl")
    _certificates(tmp_path)
    port = free_port()
    keys = {
        "tls-cert-file": "server.crt",
        "tls-key-file": "server.key",
        "tls-ca-cert-file": "ca.crt",
    }
    words = [word for key, name in keys.items() for word in (f"--{key}", str(tmp_path / name))]
    with node(engine, tmp_path, "--tls-port", str(port), *words):
        trust = f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/ca.crt"
        mine = f"&ssl_certfile={tmp_path}/client.crt&ssl_keyfile={tmp_path}/client.key"
        connection = Connection(trust + mine, SystemClock())
        try:
            await a_life(World(connection), "job")
        finally:
            await connection.aclose()
        for url in (trust, f"rediss://127.0.0.1:{port}?{mine[1:]}"):
            stranger = Connection(url, SystemClock(), deadline_ms=500)
            try:
                with pytest.raises(Unavailable):
                    await stranger.execute("PING")
            finally:
                await stranger.aclose()
