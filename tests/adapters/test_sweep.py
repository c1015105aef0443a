"""LSE-4: what could still be left is swept by its mark at runner start."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from orch.adapters.sweep import sweep, worker_mark

pytestmark = pytest.mark.req("LSE-4")


def left_over(**marks: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "1000"], env={**marks, "PATH": os.environ["PATH"]})


async def test_only_processes_with_a_dead_mark_are_killed(bench: Any) -> None:
    dead, alive, plain = (
        left_over(ORCH_CLAIM="1.1.dead"),
        left_over(ORCH_CLAIM="1.2.live"),
        left_over(),
    )
    orphan, worker = left_over(ORCH_WORKER="999999999.1"), left_over(ORCH_WORKER=worker_mark())
    everyone = (dead, alive, plain, orphan, worker)
    try:
        assert sweep(lambda mark: mark == "1.1.dead") == 2
        assert [process.wait(5) for process in (dead, orphan)] == [-9, -9]
        assert [process.poll() for process in (alive, plain, worker)] == [None, None, None]
        assert sweep(lambda mark: mark == "1.1.dead") == 0
    finally:
        for process in everyone:
            process.kill()
            process.wait()


def test_a_runner_inside_an_agent_does_not_sweep_itself_away() -> None:
    source = "from orch.adapters.sweep import sweep; print(sweep(lambda mark: mark == '1.9.self'))"
    child = subprocess.run(
        [sys.executable, "-c", source],
        env={"PATH": os.environ["PATH"], "ORCH_CLAIM": "1.9.self"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "0\n"
