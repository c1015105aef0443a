"""Fixtures every test may take: one private server a pytest process, emptied where a test asks.

`--timeouts 5` (or ORCH_TEST_TIMEOUTS=5) loses the answers of 5 % of all calls that were carried out, in every
suite; ORCH_TEST_SEED says which. See `tests/store/injection.py`.

`@pytest.mark.req("JOB-3", …)` names the requirements of SPEC that a test proves.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest
import redis
from anyio.from_thread import start_blocking_portal
from redis.backoff import NoBackoff
from redis.retry import Retry

from orch.store.embedded import private_server
from tests.spread import longest_first
from tests.store.injection import Injection
from tests.thorough import is_long

MARKER = (
    "first_answers: it asserts what the first answer to a call says (a count, `ok`, a place in line), or"
    " changes what `hello` reads under an open socket; a repeat has the same effect and may say less, so"
    " --timeouts loses no answer in it."
)
INJECTION = pytest.StashKey[Injection]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--timeouts",
        type=float,
        default=float(os.environ.get("ORCH_TEST_TIMEOUTS") or 0),
        help="lose the answers of so many of a hundred calls that were carried out",
    )
    parser.addoption(
        "--thorough", action="store_true", help="the long tests too, as `make check` does"
    )


def pytest_configure(config: pytest.Config) -> None:
    _allow_interrupts()
    config.addinivalue_line("markers", MARKER)
    if percent := config.getoption("--timeouts"):
        seed = int(os.environ.get("ORCH_TEST_SEED") or random.SystemRandom().randrange(10**6))
        injection = Injection(percent, seed, tempfile.mkdtemp(prefix="orch-timeouts-"))
        injection.install()
        config.option.dist = "no"  # one process: it pauses the losses of all, and counts them
        config.stash[INJECTION] = injection


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not (config.getoption("--thorough") or _is_chosen(config)):
        left = [item for item in items if is_long(item.nodeid)]
        items[:] = [item for item in items if not is_long(item.nodeid)]
        config.hook.pytest_deselected(items=left)
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items)


def _is_chosen(config: pytest.Config) -> bool:
    """Whether somebody named what to run."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    return not whole or bool(config.option.keyword or config.option.markexpr)


def pytest_report_header(config: pytest.Config) -> str | None:
    injection = config.stash.get(INJECTION, None)
    if injection is None:
        is_whole = config.getoption("--thorough") or _is_chosen(config)
        return None if is_whole else "long tests are left to `make check` (tests/thorough.py)"
    return f"timeouts: {injection.percent} % of all calls, ORCH_TEST_SEED={injection.seed}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    injection = config.stash.get(INJECTION, None)
    if injection is not None:
        terminalreporter.write_line(
            f"timeouts: {injection.losses} answers lost, ORCH_TEST_SEED={injection.seed}"
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    if injection := config.stash.get(INJECTION, None):
        shutil.rmtree(injection.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def injection(request: pytest.FixtureRequest) -> Injection | None:
    """What loses answers in this session, if anything does."""
    return request.config.stash.get(INJECTION, None)


@pytest.fixture(autouse=True)
def spare_first_answers(
    request: pytest.FixtureRequest, injection: Injection | None
) -> Iterator[None]:
    """See the marker."""
    if injection is None or request.node.get_closest_marker("first_answers") is None:
        yield
    else:
        with injection.paused():
            yield


def _allow_interrupts() -> None:
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
