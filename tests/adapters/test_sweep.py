"""LSE-4: what could still be left is swept by its mark at runner start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
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


def test_what_a_guard_watches_is_left_to_it_unless_it_is_frozen() -> None:
    """Its runner must hear why it ended; killed from aside, it looks like a fault of the agent."""
    agent_says = "env -u ORCH_GUARD ORCH_CLAIM=1.3.dead sh -c 'echo $$; exec sleep 1000'"
    guard = subprocess.Popen(
        ["/bin/sh", "-c", f"{agent_says} & wait"],
        env={"PATH": os.environ["PATH"], "ORCH_GUARD": str(os.getpid())},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert guard.stdout is not None
        agent = int(guard.stdout.readline())
        assert sweep(lambda mark: mark == "1.3.dead") == 0
        assert Path(f"/proc/{agent}").exists()
        guard.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, guard.pid, os.WSTOPPED)
        assert sweep(lambda mark: mark == "1.3.dead") == 1
    finally:
        guard.kill()
        guard.communicate()
