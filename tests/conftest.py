"""Fixtures every test may take: one private server a pytest process, emptied where a test asks.

`@pytest.mark.req("JOB-3", …)` names the requirements of SPEC that a test proves.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import redis
from anyio.from_thread import start_blocking_portal
from redis.backoff import NoBackoff
from redis.retry import Retry

from orch.store.embedded import private_server


def pytest_configure() -> None:
    """Ctrl-C works in the programs that tests start, also when pytest itself runs in a shell's background:
    a shell starts such a job with SIGINT ignored, and every child would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server, started once; its loop lives in a thread, so any test may use it."""
    home = tmp_path_factory.mktemp("server")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(private_server(home)) as server,
    ):
        yield server.url


@pytest.fixture
def flush(server_url: str) -> None:
    """An empty server at the start of the test; loaded functions stay."""
    with redis.Redis.from_url(server_url, retry=Retry(NoBackoff(), 0)) as client:
        client.flushall()
