"""LSE-4: an agent never acts past its lease, and nothing outlives its runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.errors import ErrorCode, Refused
from contracts.limits import STOP_FRACTION
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.launch import GUARD_BOOT
from orch.adapters.leases import Leases
from orch.adapters.process import GuardedProcess, GuardExit
from orch.system import monotonic_ms

pytestmark = pytest.mark.req("LSE-4")

ROOT = Path(__file__).parents[2]
TREE = """
    echo $$ >> {0}/pids
    sh -c 'echo $$ >> {0}/pids; while :; do sleep 0.02; done' &
    setsid sh -c 'echo $$ >> {0}/pids; while :; do sleep 0.02; done' &
    (setsid sh -c '(setsid sh -c "echo \\$\\$ >> {0}/pids; exec sleep 1000" &) ; exit 0' &)
    while :; do sleep 0.02; done"""
"""A shell, a child, one with a session of its own, and a daemon that forked twice: four pids."""
STOPPED = "TD"
"""A shell that waits in vfork for its stopped child is in D: it cannot act either."""
ENV = {"PATH": os.environ["PATH"]}


def started(bench: Any, leases: Leases, folder: Path) -> Any:
    argv = ["sh", "-c", TREE.format(folder)]
    return GuardedProcess.start(argv, cwd=None, env=ENV, leases=leases)


async def test_a_missed_lease_stops_the_whole_tree_and_its_confirmation_continues_it(
    bench: Any, tmp_path: Path
) -> None:
    leases = Leases(suspend_max_ms=60_000)
    async with started(bench, leases, tmp_path) as process:
        pids = await bench.pids(4)
        await bench.in_state(pids, "SRD")
        sent_ms = monotonic_ms()
        leases.confirm(sent_ms, 1_500)
        await bench.in_state(pids, STOPPED, within_s=3)
        assert monotonic_ms() - sent_ms >= 1_500 * STOP_FRACTION - 1
        assert monotonic_ms() - sent_ms < 1_500
        keeper = threading.Thread(target=leases.confirm, args=(monotonic_ms(), 60_000))
        keeper.start()
        await bench.in_state(pids, "SRD", within_s=1)
        keeper.join()
        process.kill()
        assert (await process.wait()).killed == "order"
    await bench.all_dead(pids, within_s=0.1)


async def test_an_agent_is_not_even_started_on_an_old_lease(bench: Any, tmp_path: Path) -> None:
    # Frozen between the claim and the start: at the thaw the job is somebody else's already.
    acts = tmp_path / "acts"
    argv = ["sh", "-c", f"echo $$ >> {acts}; sleep 1000"]
    leases = Leases(suspend_max_ms=60_000)
    leases.confirm(monotonic_ms() - 10_000, 1_500)
    condemned = GuardedProcess.spawn(argv, cwd=None, env=ENV, leases=leases)
    leases.condemn()
    assert (await condemned.wait()).killed == "order"
    await condemned.aclose()
    assert not acts.exists()
    leases.confirm(monotonic_ms() - 10_000, 1_500)
    async with GuardedProcess.start(argv, cwd=None, env=ENV, leases=leases):
        leases.confirm(monotonic_ms(), 60_000)
        await bench.until(acts.exists)


async def test_a_tree_suspended_for_too_long_is_killed_and_says_why(
    bench: Any, tmp_path: Path
) -> None:
    leases = Leases(suspend_max_ms=200)
    async with started(bench, leases, tmp_path) as process:
        pids = await bench.pids(4)
        leases.confirm(monotonic_ms(), 600)
        ended = await process.wait()
        assert ended == GuardExit(signal=signal.SIGKILL, killed="lease")
        await process.gone()
        await bench.all_dead(pids, within_s=0.1)


async def test_a_confirmation_never_moves_the_stop_back(bench: Any, tmp_path: Path) -> None:
    leases = Leases(suspend_max_ms=60_000)
    async with started(bench, leases, tmp_path) as process:
        await bench.pids(4)
        leases.confirm(monotonic_ms(), 60_000)
        leases.confirm(monotonic_ms() - 30_000, 1_500)
        leases.confirm(monotonic_ms(), 600)
        process.stop(0)
        assert (await process.wait()).killed == "order"
        assert not process.suspended


async def test_a_suspended_tree_gets_no_grace(bench: Any, tmp_path: Path) -> None:
    leases = Leases(suspend_max_ms=60_000)
    trap = f"trap 'echo acted > {tmp_path}/acted' TERM; echo $$ > {tmp_path}/pids"
    script = f"{trap}; while :; do sleep 0.02; done"
    async with GuardedProcess.start(
        ["sh", "-c", script], cwd=None, env=ENV, leases=leases
    ) as process:
        pids = await bench.pids(1)
        leases.confirm(monotonic_ms() - 5_000, 1_500)
        await bench.until(lambda: process.poll_exit() is None and process.suspended)
        await bench.in_state(pids, STOPPED, within_s=0.1)
        process.stop(60_000)
        assert (await process.wait()).signal == signal.SIGKILL
    assert not (tmp_path / "acted").exists()


async def test_a_condemned_runner_loses_all_trees_and_starts_none(
    bench: Any, tmp_path: Path
) -> None:
    endings = []

    async def run() -> None:
        endings.append(await bench.shell(TREE.format(tmp_path)))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        pids = await bench.pids(4)
        bench.leases.condemn()
    assert (endings[0].outcome, endings[0].reason) == (Outcome.LOST, ReasonCode.LEASE_OVER)
    await bench.all_dead(pids, within_s=0.1)
    with pytest.raises(Refused) as caught:
        await bench.shell("true")
    assert caught.value.code is ErrorCode.LEASE_OVER
    bench.leases.confirm(monotonic_ms(), 60_000)
    assert (await bench.shell("true")).outcome is Outcome.DONE


async def test_time_in_suspension_is_not_idle_time(
    bench: Any, tmp_path: Path, stopwatch: Callable[[], float]
) -> None:
    endings = []

    async def run() -> None:
        endings.append(
            await bench.shell(f"echo $$ >> {tmp_path}/pids; exec sleep 0.6", idle_ms=1_000)
        )

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        pids = await bench.pids(1)
        bench.leases.confirm(monotonic_ms() - 5_000, 1_500)
        await bench.in_state(pids, "T")
        stopped_at = stopwatch()
        await bench.until(lambda: stopwatch() - stopped_at > 1.2)  # past the idle limit
        bench.leases.confirm(monotonic_ms(), 60_000)
    assert endings[0].outcome is Outcome.DONE


async def test_a_guard_imports_little_for_its_start_is_paid_by_every_job() -> None:
    listing = GUARD_BOOT.replace("main()", "print(*sorted(sys.modules))")
    run = await anyio.run_process([sys.executable, "-I", "-S", "-E", "-c", listing])
    modules = set(run.stdout.decode().split())
    assert "orch.adapters.guard" in modules
    assert not modules & {"typing", "re", "json", "subprocess", "threading", "site", "anyio"}
    assert len(modules) < 60


async def test_signals_to_the_guard_s_group_do_not_reach_the_guard(
    bench: Any, tmp_path: Path
) -> None:
    leases = Leases(suspend_max_ms=60_000)
    async with started(bench, leases, tmp_path) as process:
        await bench.pids(4)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.killpg(process.guard_pid, number)
        assert process.poll_exit() is None
        process.stop(60_000)
        assert (await process.wait()).signal == signal.SIGTERM


async def test_the_lifeline_ends_with_the_guard_and_is_not_the_agent_s(
    bench: Any, tmp_path: Path
) -> None:
    read, write = os.pipe()
    leases = Leases(suspend_max_ms=60_000, lifeline_fd=write)
    async with started(bench, leases, tmp_path) as process:
        pids = await bench.pids(4)
        lifeline = os.readlink(f"/proc/self/fd/{write}")
        os.close(write)
        os.set_blocking(read, False)
        with pytest.raises(BlockingIOError):
            os.read(read, 1)
        for pid in pids:
            held = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            assert lifeline not in held
        process.kill()
        await process.gone()
        assert os.read(read, 1) == b""
    os.close(read)


RUNNER = """
    import sys
    from pathlib import Path
    import anyio
    sys.path.insert(0, {root!r})
    from orch.system import monotonic_ms
    from tests.adapters.conftest import Bench

    async def main():
        bench = Bench(Path({folder!r}))
        bench.leases.confirm(monotonic_ms(), {lease_ms})
        async with anyio.create_task_group() as group:
            group.start_soon(bench.shell, {tree!r})
            await bench.run("python", callable="hang:forever", path={folder!r})

    anyio.run(main)
"""
HANG = """
import os, time
def forever():
    with open({pids!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    time.sleep(1000)
"""


def runner(folder: Path, *, lease_ms: int) -> subprocess.Popen[bytes]:
    """A process that runs a shell tree and a python call: five pids."""
    own = folder / "runner"
    own.mkdir()
    (own / "hang.py").write_text(HANG.format(pids=str(folder / "pids")))
    tree = TREE.format(folder)
    source = RUNNER.format(root=str(ROOT), folder=str(own), tree=tree, lease_ms=lease_ms)
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(source)])


async def test_kill_9_of_the_runner_leaves_no_process(bench: Any, tmp_path: Path) -> None:
    with runner(tmp_path, lease_ms=60_000) as process:
        pids = await bench.pids(5)
        await bench.in_state(pids, "SRD")
        process.kill()
    await bench.all_dead(pids, within_s=1)


async def test_the_trees_of_a_frozen_runner_stop_with_its_lease(bench: Any, tmp_path: Path) -> None:
    """No confirmation comes, for the keeper is frozen too; the guards have their own clocks."""
    with runner(tmp_path, lease_ms=3_000) as process:
        pids = await bench.pids(5)
        process.send_signal(signal.SIGSTOP)
        await bench.in_state(pids, STOPPED, within_s=5)
        process.kill()
    await bench.all_dead(pids, within_s=1)
