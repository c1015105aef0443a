"""Answers that get lost in one of twenty calls change nothing: a slice of the suite under `--timeouts 5`.

`python -m pytest tests/store tests/e2e tests/story tests/cli --timeouts 5` is the whole of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.store.engines import why_absent
from tests.store.faulty import RESET_AFTER
from tests.store.injection import Forgetful, Injection, is_ours, plan_of_socket

ROOT = Path(__file__).parents[2]
FILES = ("test_claim.py", "test_outcomes.py")
SEED = "7"


@pytest.fixture(autouse=True)
def not_within_itself(injection: Injection | None) -> None:
    if injection is not None:
        pytest.skip("this is what --timeouts does")


@pytest.mark.req("ADM-1", "REA-3")
@pytest.mark.timeout(180)
def test_the_promises_hold_when_one_of_twenty_answers_is_lost() -> None:
    engine = next(name for name in ("valkey", "redis") if not why_absent(name))
    words = [f"tests/store/{name}" for name in FILES]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-q", "-k", engine, "--timeouts", "5"],
        cwd=ROOT,
        env={**os.environ, "ORCH_TEST_SEED": SEED},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8_000:]
    lost = re.search(r"timeouts: (\d+) answers lost", ended.stdout)
    assert lost is not None
    assert int(lost[1]) > 20, "enough were lost to prove anything"


def test_only_what_orch_sends_is_lost_and_only_after_it_was_carried_out(tmp_path: Path) -> None:
    always = Injection(100, 1, str(tmp_path))
    plan = plan_of_socket(always)
    assert plan([b"HGETALL", b"x"]) is None, "a test's own socket is left alone"
    assert plan([b"FCALL", b"hello_1"]) is RESET_AFTER
    assert plan([b"HGETALL", b"x"]) is RESET_AFTER
    assert plan([b"FLUSHALL"]) is None
    assert always.losses == 2
    with always.paused():
        assert plan([b"PING"]) is None
    assert [
        is_ours(words) for words in ([b"XADD", b"{orch:0}:wake:a"], [b"XADD", b"requests"])
    ] == [
        True,
        False,
    ]


async def test_a_client_that_forgets_has_carried_the_command_out(tmp_path: Path) -> None:
    class Client:
        def __init__(self) -> None:
            self.commands: list[object] = []

        async def execute_command(self, *command: object) -> str:
            self.commands.append(command)
            return "done"

    client = Client()
    with pytest.raises(RedisTimeoutError):
        await Forgetful(client, Injection(100, 1, str(tmp_path))).execute_command("PING")
    assert await Forgetful(client, Injection(0, 1, str(tmp_path))).execute_command("PING") == "done"
    assert client.commands == [("PING",), ("PING",)]
