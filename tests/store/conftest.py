"""One world a test on every engine; after each test the store must still keep all its promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from anyio.from_thread import start_blocking_portal
from fakeredis import FakeServer
from redis.backoff import NoBackoff
from redis.retry import Retry

from orch.store.connection import Connection
from orch.system import SystemClock
from tests import driven
from tests.sim.model.client import connect_model
from tests.sim.model.server import ModelServer
from tests.store.engines import (
    CLUSTER,
    IN_MEMORY,
    NAMES,
    Servers,
    connect_fake,
    greet_fake,
    real_servers,
    why_absent,
)
from tests.store.injection import Injection, make_forgetful
from tests.store.invariants import faults_of
from tests.store.proxy import Link, lossy_link
from tests.store.world import World


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The real servers of this pytest process."""
    with real_servers(tmp_path_factory.mktemp("engines")) as started:
        yield started


@pytest.fixture(params=[name for name in (*NAMES, CLUSTER) if not why_absent(name)])
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine that is here; test_engines.py says which is not, and why."""
    name: str = request.param
    return name


@pytest.fixture
async def connection(
    engine: str, servers: Servers, injection: Injection | None
) -> AsyncIterator[Connection]:
    """A greeted connection to an empty server."""
    if engine == "fakeredis":
        made = connect_fake(FakeServer())
        await greet_fake(made)
    elif engine == "model":
        made = connect_model(ModelServer(SystemClock().wall_ms, "0" * 40), SystemClock())
        await made.ping()
    else:
        with redis.Redis.from_url(servers.server(engine), retry=Retry(NoBackoff(), 0)) as client:
            client.flushall()
        made = Connection(servers.url(engine), SystemClock())
        await made.execute("PING")
    if injection is not None and engine in IN_MEMORY:
        make_forgetful(made, injection)
    yield made
    await made.aclose()


@pytest.fixture
async def world(connection: Connection, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """An empty store, and the proof after the test that every promise about its data holds."""
    made = World(connection)
    yield made
    assert await faults_of(made, half_written=made.half_written) == []
    if promised := driven.wanted(request):
        ledgers = [value for name, value in (await made.contents()).items() if ":job:" in name]
        assert promised <= set(driven.counted(ledgers)), "the test says that it makes them happen"


@pytest.fixture
def link(connection: Connection, engine: str, servers: Servers, tmp_path: Path) -> Iterator[Link]:
    """A link that can lose replies, to the world's own server."""
    if engine in IN_MEMORY:
        pytest.skip("an engine in memory has no link that could lose anything")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(lossy_link(servers.server(engine), tmp_path)) as made,
    ):
        yield made
