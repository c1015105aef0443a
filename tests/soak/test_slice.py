"""A short slice of `make soak`: a real stack, all its callers, every promise. Too short to judge growth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from actors.start import ROLES
from contracts.limits import HOUR_MS
from contracts.states import STATE_CODES, State
from orch.store.keys import Keys
from orch.system import monotonic_ms
from tests.chaos.submit import Ack
from tests.e2e.specs import shell
from tests.e2e.stack import Stack, a_stack
from tests.soak.follow import STUCK_MS, Books, Follower
from tests.soak.gauges import Gauges
from tests.soak.judge import rows_of
from tests.soak.report import document, table
from tests.soak.run import RETENTION_MS, Plan, age, run

pytestmark = pytest.mark.timeout(
    180
)  # a slow machine drains for two minutes before it says that it is stuck
SLICE = Plan(seconds=15.0, jobs_per_s=4.0, sample_s=1.0, feed_min=1, seed="slice")


@pytest.fixture
def root() -> Iterator[Path]:
    with TemporaryDirectory(prefix="orch-soak-") as folder:  # a short path: it holds a socket
        yield Path(folder)


@pytest.mark.req("SIM-5", "EVT-2", "JOB-3")
def test_some_seconds_of_every_kind_of_caller_lose_and_double_nothing(root: Path) -> None:
    said: list[object] = []
    result = run(SLICE, root, said.append)
    books = result.books
    assert result.violations == []
    assert books.open == {}
    assert books.judged["python"] > 0
    assert books.counts["streams read"] > 0
    assert books.counts["schedules fired"] > 0
    rows = rows_of(
        result.samples
    )  # a KeyError: of some measure nobody has said how much it may grow
    measures = {row.measure for row in rows}
    assert {f"rss_kib:{role}" for role in (*ROLES, "server", "up", "worker")} <= measures
    assert {"keys:job", "size:feed", "fds:gateway", "latency_ms:submit", "files"} <= measures
    assert document(result, rows)["rows"]
    assert len(table(rows).splitlines()) == len(rows) + 1


@pytest.mark.req("SIM-5")
def test_what_is_planted_in_a_running_stack_is_seen(root: Path) -> None:
    with a_stack(root, retention_ms=RETENTION_MS) as stack:
        done = stack.run(shell("true")).job_id
        gauges = Gauges(stack)
        before = gauges.look()
        _plant(stack)
        after = gauges.look()
        assert after["keys:session"] - before.get("keys:session", 0) == 30
        assert after["size:session"] - before.get("size:session", 0) == 60
        assert after["files"] - before["files"] == 5
        assert after["home_kib"] - before["home_kib"] >= 50
        _uproot(stack)
        assert age(stack.redis) == 0, "it is not a minute old"
        stack.redis.hset(Keys().job(done), "finished_at", 1)
        assert age(stack.redis) == 1
        assert _retiring(stack) == {done}, "in one set only, and the sweep agrees"
        assert _judged(stack, done) == ["lost", "lost", "stuck", "broken"]


def _retiring(stack: Stack) -> set[str]:
    """Who stands in the set of the hour in which it ended."""
    found = set()
    for key in stack.redis.scan_iter(Keys().prefix + "retire:*"):
        hour = int(key.rpartition(":")[2])
        for job_id in stack.redis.smembers(key):
            assert int(stack.stored(job_id)["finished_at"]) // HOUR_MS == hour
            found.add(str(job_id))
    return found


def _plant(stack: Stack) -> None:
    for n in range(30):
        stack.redis.zadd(Keys().session("default", f"planted-{n}"), {"a": 1, "b": 2})
    for n in range(5):
        (stack.home / f"planted-{n}").write_bytes(b"x" * 10_240)


def _uproot(stack: Stack) -> None:
    for n in range(30):
        stack.redis.delete(Keys().session("default", f"planted-{n}"))


def _judged(stack: Stack, done: str) -> list[str]:
    """Violations of: two jobs that nobody has, one that waits for too long, one that ended otherwise."""
    waits = stack.client.submit(shell("true", not_before_ms=2**42)).job_id
    books = Books()
    now_ms = monotonic_ms()
    for job_id, kind, at_ms in (
        ("nobody", "quick", now_ms),
        ("nobody-else", "asks", now_ms),
        (waits, "quick", now_ms - STUCK_MS - 1),
        (done, "endless", now_ms),
    ):
        books.open[job_id] = Ack(job_id, "m", kind, "http", "s", 0, 0, at_ms)
    follower = Follower(stack.redis, books, stack.root / "effects.txt")
    assert follower.look() == []
    assert books.open == {}
    assert stack.stored(waits)["state"] == STATE_CODES[State.SCHEDULED]
    stack.client.cancel(waits)
    return [one.kind for one in books.violations if "agent never ended" not in one.what]
