"""A server that cannot keep promises is refused by whoever starts; one that is away is waited for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.states import State
from orch.cli.stack import actors_argv
from orch.store.engine import find_engine
from orch.store.keys import Keys
from tests.e2e.specs import shell
from tests.e2e.stack import DEADLINE_S, Stack, a_stack, connect, environ, wait_until
from tests.store.cluster import Node, free_port, node

KEEPS = ("--appendonly", "yes", "--appendfsync", "no")
EVICTS = (*KEEPS, "--maxmemory-policy", "allkeys-lru")
FORGETS = ("--appendonly", "no")
TO_SET = {EVICTS: "Set maxmemory-policy noeviction", FORGETS: "Set appendonly yes"}


def url_of(server: Node) -> str:
    return f"redis://127.0.0.1:{server.port}"


def refused(root: Path, *words: str) -> str:
    """The first line of an actor that has to end with exit code 7."""
    ended = subprocess.run(
        actors_argv(*words, "--home", str(root / "home")), env=environ(), cwd=root,
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 7, ended.stderr
    (line,) = [one for one in ended.stderr.splitlines() if one.startswith("DEPENDENCY_MISSING: ")]
    return line


@contextmanager
def running(*words: str, root: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An actor, until the test has seen enough."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            actors_argv(*words, "--home", str(root / "home")),
            env=environ(), cwd=root, stdout=out, stderr=out,
        )  # fmt: skip
        try:
            yield child
        finally:
            child.terminate()
            child.wait(DEADLINE_S)


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize("words", [EVICTS, FORGETS], ids=["evicts", "forgets"])
def test_a_stack_refuses_it_with_what_to_set_and_leaves_it_untouched(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    with node(find_engine(), tmp_path / "server", *words) as server:
        assert TO_SET[words] in refused(tmp_path, "up", "--redis-url", url_of(server))
        assert (server.say("DBSIZE"), server.say("FUNCTION", "LIST")) == (0, [])


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize("role", ["runner", "reaper", "gateway"])
def test_one_actor_alone_refuses_it_too(tmp_path: Path, role: str) -> None:
    with node(find_engine(), tmp_path / "server", *EVICTS) as server:
        assert TO_SET[EVICTS] in refused(tmp_path, role, "--redis-url", url_of(server))
        assert (server.say("DBSIZE"), server.say("FUNCTION", "LIST")) == (0, [])


@pytest.mark.req("DEP-2", "CLI-2")
def test_orch_up_passes_the_refusal_on(tmp_path: Path) -> None:
    stack = Stack(tmp_path, {})
    with node(find_engine(), tmp_path / "server", *EVICTS) as server:
        ended = stack.orch("up", "--wait", "--json", "--redis-url", url_of(server))
    assert (ended.code, ended.document["code"]) == (7, "DEPENDENCY_MISSING")
    assert TO_SET[EVICTS] in ended.document["message"]
    assert ended.document["details"] == {"checks": ["eviction"]}
    assert stack.processes() == []


def persistence_by(stack: Stack, *words: str) -> tuple[int, str]:
    """How the doctor ends, and what it thinks of how the server keeps data."""
    ended = stack.orch("doctor", "--json", *words)
    (row,) = [one for one in ended.document["checks"] if one["name"] == "persistence"]
    return ended.code, row["severity"]


@pytest.mark.req("DEP-2", "CLI-3")
def test_a_server_that_forgets_serves_those_who_said_that_it_may(tmp_path: Path) -> None:
    root = tmp_path / "stack"
    root.mkdir()
    with (
        node(find_engine(), tmp_path / "server", *FORGETS) as server,
        a_stack(root, redis_url=url_of(server), ephemeral="true") as stack,
    ):
        assert stack.run(shell("true")).state is State.COMPLETED
        warned = [line for line in stack.log.read_text().splitlines() if "server_warning" in line]
        assert "all jobs end with the server" in "".join(warned)
        # The doctor knows what the stack was told, but production does not go by it.
        assert persistence_by(stack) == (0, "warn")
        assert persistence_by(stack, "--production-readiness") == (7, "fail")


@pytest.mark.req("DEP-2")
def test_a_server_whose_fsync_is_slow_is_served_and_the_log_says_what_may_be_lost(
    tmp_path: Path,
) -> None:
    root = tmp_path / "stack"
    root.mkdir()
    with (
        node(find_engine(), tmp_path / "server", *KEEPS) as server,
        a_stack(root, redis_url=url_of(server)) as stack,
    ):
        warned = [line for line in stack.log.read_text().splitlines() if "server_warning" in line]
        (said,) = [json.loads(line) for line in warned]
        assert (said["check"], said["found"].partition(":")[0]) == ("fsync", "appendfsync no")
        ended = stack.orch("doctor")
        assert ended.code == 0
        assert "WARN  fsync: appendfsync no" in ended.out


@pytest.mark.req("DEP-2", "REA-3")
@pytest.mark.parametrize("words", [KEEPS, EVICTS], ids=["keeps", "evicts"])
def test_a_server_that_is_away_is_waited_for_and_judged_when_it_comes(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    port, log = free_port(), tmp_path / "log"
    url = f"redis://127.0.0.1:{port}"
    with running("reaper", "--redis-url", url, root=tmp_path, log=log) as actor:
        wait_until(lambda: "redis_away" in log.read_text(), what="it waits")
        assert actor.poll() is None
        with node(find_engine(), tmp_path / "server", *words, port=port) as server:
            if words is EVICTS:
                assert actor.wait(DEADLINE_S) == 7
                assert TO_SET[EVICTS] in log.read_text()
                assert server.say("DBSIZE") == 0
                return
            with connect(url) as client:
                wait_until(lambda: client.hlen(Keys().instances), what="it serves")
