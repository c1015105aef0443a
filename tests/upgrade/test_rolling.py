"""Versions change places on one server, role by role: no job is stuck or doubled, and libraries come and go.

The other version is the last release, and before there is one this code under another library hash;
`make upgrade OLD=<commit>` takes any. The whole story, there and back, runs in `make check`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.e2e.stack import connect
from tests.store.injection import Injection
from tests.upgrade.story import Outcome, Shape, tell
from tests.upgrade.versions import Version, other_version, this_version, twin

QUICK = Shape(
    roles=("runner",), already=("reaper",), runners=1, doors=("direct",),
    kinds=("inline", "quick", "session"), jobs=8, pause_s=0.02, back=False, keep_ms=1_000,
)  # fmt: skip
"""Jobs that need nobody but a runner, and the reaper: a few seconds."""

LATE = """
import sys
import anyio
from actors.body import make_store
from orch.core.asks import Ask
from orch.settings import settings_of

async def main():
    store = make_store(settings_of({"redis_url": sys.argv[1]}), actor="late")
    await store.timers.declare(["default"])
    for name in ("first", "second"):
        adapter = {"name": "command", "config": {"argv": ["true"]}}
        answers = await store.admission.admit([Ask({"id": name, "name": name, "adapter": adapter})])
        print(answers[0].job_id, flush=True)
        sys.stdin.readline()
    await store.connection.aclose()

anyio.run(main)
"""
"""A producer that was started long ago: it submits a job whenever it is told to."""


@pytest.fixture(autouse=True)
def no_lost_answers(injection: Injection | None) -> None:
    """What is looked at past Orch here is asked once."""
    if injection is not None:
        pytest.skip("--timeouts: it would lose the answers to the test's own looks")


@pytest.fixture(scope="module")
def this() -> Version:
    return this_version()


@pytest.fixture(scope="module")
def same_code(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return twin(tmp_path_factory.mktemp("twin"))


def sound(outcome: Outcome) -> None:
    """Nothing is wrong, and enough happened for that to mean something."""
    assert outcome.faults == []
    assert len(outcome.books.accepted) >= outcome.shape.jobs * (1 + 2 * len(outcome.passages))
    for passage in outcome.passages:
        assert {passage.leaves.library, passage.comes.library} <= set(passage.libraries)
        assert passage.begun.keys() == {passage.leaves.label, passage.comes.label}
        assert (passage.removed_ms is not None) is passage.comes.removes_libraries


def test_the_same_code_under_another_hash_is_another_version(
    this: Version, same_code: Version
) -> None:
    assert this.library != same_code.library
    assert this.version != same_code.version
    assert (this.schema, this.settings) == (same_code.schema, same_code.settings)


@pytest.mark.req("LSE-1", "REA-1")
async def test_runners_of_two_versions_share_the_jobs_of_one_server(
    tmp_path: Path, this: Version, same_code: Version
) -> None:
    sound(await tell(same_code, this, QUICK, tmp_path))


@pytest.mark.req("LSE-1", "RUN-6", "REA-1")
@pytest.mark.timeout(600)
async def test_versions_change_places_there_and_back_and_no_job_is_stuck_or_doubled(
    tmp_path: Path, this: Version
) -> None:
    outcome = await tell(other_version(tmp_path / "other", None), this, Shape(), tmp_path)
    sound(outcome)
    assert len(outcome.passages) == 2
    assert set(outcome.books.doors) == {"http", "direct", "raw", "schedule"}


@contextmanager
def late_producer(version: Version, url: str) -> Iterator[subprocess.Popen[str]]:
    """It ends when nobody tells it anything any more."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LATE, url], env=version.environ(version.tree),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process


def submitted(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def has(client: redis.Redis, version: Version) -> bool:
    """Whether its library is on the server."""
    found = client.execute_command("FUNCTION", "LIST", "LIBRARYNAME", version.library)
    return bool(found)


@pytest.mark.req("REA-3")
@pytest.mark.usefixtures("flush")
def test_a_late_process_of_the_old_version_loads_its_library_again(
    server_url: str, same_code: Version
) -> None:
    with connect(server_url) as client, late_producer(same_code, server_url) as process:
        assert submitted(process) == "first"
        assert has(client, same_code)
        client.execute_command("FUNCTION", "DELETE", same_code.library)
        assert not has(client, same_code)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert submitted(process) == "second"
        assert has(client, same_code)
        client.execute_command("FUNCTION", "DELETE", same_code.library)
