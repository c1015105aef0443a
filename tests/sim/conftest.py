"""The real servers, as stories are told to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.sim.model.servers import ToldRedis
from tests.store.engines import NAMES, Servers, real_servers, why_absent

REAL = [name for name in NAMES if name not in {"fakeredis", "model"} and not why_absent(name)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The real servers that are here."""
    with real_servers(tmp_path_factory.mktemp("engines")) as started:
        yield started


@pytest.fixture(params=REAL)
def real(request: pytest.FixtureRequest, servers: Servers) -> Iterator[ToldRedis]:
    """Each of them."""
    with redis.Redis.from_url(
        servers.url(request.param), decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0)
    ) as client:
        yield ToldRedis(client)
