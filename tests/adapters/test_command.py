"""`command`: any command line, its end told truly, its tree never outliving it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.errors import ErrorCode, Refused
from contracts.outcomes import Outcome, ReasonCode

pytestmark = pytest.mark.req("RUN-1")

ENDINGS: list[tuple[str, Outcome, ReasonCode, int | None]] = [
    ("exit 0", Outcome.DONE, ReasonCode.COMPLETED, 0),
    ("exit 3", Outcome.LOGIC, ReasonCode.EXIT_CODE, 3),
    ("exit 75", Outcome.TRANSIENT, ReasonCode.EXIT_CODE, 75),
    ("kill -9 $$", Outcome.LOGIC, ReasonCode.SIGNAL, 137),
    ("kill -SEGV $$", Outcome.LOGIC, ReasonCode.SIGNAL, 139),
]


@pytest.mark.parametrize(("script", "outcome", "reason", "exit_code"), ENDINGS)
async def test_an_exit_becomes_an_outcome(
    bench: Any, script: str, outcome: Outcome, reason: ReasonCode, exit_code: int | None
) -> None:
    ending = await bench.shell(script)
    assert (ending.outcome, ending.reason, ending.exit_code) == (outcome, reason, exit_code)
    assert ending.result == ({"exit_code": 0} if outcome is Outcome.DONE else None)


async def test_a_program_that_does_not_exist_is_named(bench: Any) -> None:
    ending = await bench.run("command", argv=["no-such-program-anywhere"])
    assert (ending.outcome, ending.reason) == (Outcome.ENVIRONMENT, ReasonCode.NOT_FOUND)
    assert "no-such-program-anywhere" in ending.message


async def test_a_file_that_cannot_be_executed_is_named(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("text")
    ending = await bench.run("command", argv=[str(tmp_path / "plain.txt")])
    assert (ending.outcome, ending.reason) == (Outcome.ENVIRONMENT, ReasonCode.NOT_EXECUTABLE)


async def test_a_directory_that_does_not_exist_is_named(bench: Any, tmp_path: Path) -> None:
    ending = await bench.run("command", argv=["true"], cwd=str(tmp_path / "nowhere"))
    assert (ending.outcome, ending.reason) == (Outcome.ENVIRONMENT, ReasonCode.NOT_FOUND)
    assert "nowhere" in ending.message


async def test_arguments_too_long_for_the_kernel_end_only_this_job(bench: Any) -> None:
    ending = await bench.run("command", argv=["true", "x" * 500_000])
    assert (ending.outcome, ending.reason) == (Outcome.ENVIRONMENT, ReasonCode.NOT_EXECUTABLE)


async def test_stdin_cwd_and_odd_arguments_arrive_unchanged(bench: Any, tmp_path: Path) -> None:
    script = 'cat; pwd; printf "%s|" "$@"'
    argv = ["sh", "-c", script, "sh", "", "a b", "new\nline", "ünï→𝄞", "$HOME"]
    await bench.run("command", argv=argv, cwd=str(tmp_path), stdin="the input\n")
    assert bench.desk.text() == f"the input\n{tmp_path}\n|a b|new\nline|ünï→𝄞|$HOME|"


async def test_without_stdin_an_agent_reads_its_end_at_once(bench: Any) -> None:
    assert (await bench.run("command", argv=["cat"])).outcome is Outcome.DONE


@pytest.mark.req("LSE-5", "SIM-5")
async def test_the_environment_is_exactly_the_promised_one(bench: Any) -> None:
    answer = {"question_id": "q", "step_id": None, "value": {"go": "on"}}
    spec_env = {"MINE": "1", "LANG": "xx", "ORCH_FENCE": "999", "ORCH_OTHER": "1"}
    argv = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    await bench.run("command", argv=argv, env=spec_env, answer=answer, progress={"at": 3})
    seen = json.loads(bench.desk.text())
    seen.pop("LC_CTYPE", None)  # the interpreter's own doing
    folder = seen.pop("ORCH_ARTIFACT_DIR")
    assert not Path(folder).exists()
    assert seen == {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "LANG": "xx",
        "MINE": "1",
        "ORCH_JOB_ID": "job-1",
        "ORCH_ATTEMPT": "1",
        "ORCH_FENCE": str(2**32 + 1),
        "ORCH_CLAIM": bench.job("command", argv=["true"]).claim.text,
        "ORCH_ANSWER": '{"go":"on"}',
        "ORCH_CHECKPOINT": '{"at":3}',
        "ORCH_URL": "http://127.0.0.1:1",
        "ORCH_TOKEN": "token-of-job-1",
    }


async def test_an_agent_starts_with_default_signals_and_three_descriptors(bench: Any) -> None:
    script = "grep SigIgn /proc/self/status; ls /proc/self/fd | wc -l"
    await bench.shell(script)
    ignored, descriptors = bench.desk.text().splitlines()
    # 32 and 33 are the C library's own: who starts us may ignore them, and no program can change that.
    libc = 0b11 << 31
    assert int(ignored.split()[1], 16) & ~libc == 0
    assert descriptors == "4"  # 0, 1, 2 and the listing's own


@pytest.mark.req("RUN-3")
async def test_wall_time_ends_a_talkative_agent(bench: Any) -> None:
    ending = await bench.shell("while :; do echo alive; sleep 0.05; done", wall_ms=400)
    assert (ending.outcome, ending.reason) == (Outcome.RESOURCE, ReasonCode.WALL_LIMIT)


@pytest.mark.req("RUN-3")
async def test_idle_time_ends_a_silent_agent_and_spares_a_talkative_one(bench: Any) -> None:
    ending = await bench.shell("echo once; sleep 100", idle_ms=300)
    assert (ending.outcome, ending.reason) == (Outcome.RESOURCE, ReasonCode.IDLE_LIMIT)
    talkative = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done"
    assert (await bench.shell(talkative, idle_ms=500)).outcome is Outcome.DONE


@pytest.mark.req("RUN-3", "RUN-4")
async def test_an_agent_that_is_to_stop_before_it_began_hears_it_and_is_not_left_its_grace(
    bench: Any,
) -> None:
    ending = await bench.run("command", argv=["sleep", "60"], wall_ms=1)
    assert (ending.reason, ending.exit_code) == (ReasonCode.WALL_LIMIT, 143)


@pytest.mark.req("RUN-3")
async def test_an_agent_that_ignores_term_is_killed_after_the_grace(
    bench: Any, stopwatch: Callable[[], float]
) -> None:
    ending = await bench.shell("trap '' TERM; echo deaf; while :; do sleep 0.05; done", wall_ms=200)
    assert (ending.reason, ending.exit_code) == (ReasonCode.WALL_LIMIT, 137)
    assert stopwatch() >= 0.7


async def test_what_an_agent_leaves_running_is_killed_with_it(bench: Any, tmp_path: Path) -> None:
    daemon = f"(setsid sh -c 'echo $$ >> {tmp_path}/pids; sleep 1000' &)"
    ending = await bench.shell(f"{daemon}; while ! [ -s {tmp_path}/pids ]; do sleep 0.02; done")
    assert ending.outcome is Outcome.DONE
    await bench.all_dead(await bench.pids(1), within_s=0.1)


async def test_files_in_the_artifact_folder_are_recorded(bench: Any) -> None:
    made = "echo one > a; mkdir d; echo two > d/b; ln -s /etc/passwd link; mkfifo p"
    script = f'cd "$ORCH_ARTIFACT_DIR"; {made}'
    assert (await bench.shell(script)).outcome is Outcome.DONE
    assert bench.desk.artifacts == {"a": b"one\n", "d/b": b"two\n"}


@pytest.mark.req("RUN-4")
async def test_cancel_ends_the_whole_tree_within_a_second(
    bench: Any, tmp_path: Path, stopwatch: Callable[[], float]
) -> None:
    script = f"""
        echo $$ >> {tmp_path}/pids
        sh -c 'echo $$ >> {tmp_path}/pids; sleep 1000' &
        setsid sh -c 'echo $$ >> {tmp_path}/pids; sleep 1000' &
        (setsid sh -c '(sh -c "echo \\$\\$ >> {tmp_path}/pids; sleep 1000" &)' &)
        wait"""
    async with anyio.create_task_group() as group:
        group.start_soon(bench.shell, script)
        pids = await bench.pids(4)
        began = stopwatch()
        group.cancel_scope.cancel()
    assert stopwatch() - began < 1
    await bench.all_dead(pids, within_s=0.1)


@pytest.mark.req("RUN-4")
async def test_cancel_lets_an_agent_clean_up_but_hands_on_no_more_output(
    bench: Any, tmp_path: Path
) -> None:
    script = f"""
        trap 'head -c 300000 /dev/zero; echo clean > {tmp_path}/cleaned; exit 0' TERM
        echo ready; while :; do sleep 0.02; done"""
    async with anyio.create_task_group() as group:
        group.start_soon(bench.shell, script)
        await bench.until(lambda: bench.desk.text() == "ready\n")
        group.cancel_scope.cancel()
    assert (tmp_path / "cleaned").read_text() == "clean\n"
    assert bench.desk.text() == "ready\n"


@pytest.mark.req("LSE-2")
async def test_a_refused_claim_stops_the_work_at_once_and_passes(
    bench: Any, tmp_path: Path
) -> None:
    script = f"trap '' TERM; echo $$ > {tmp_path}/pids; while :; do echo more; sleep 0.01; done"
    bench.desk.over = True
    with pytest.raises(Refused) as caught:
        await bench.shell(script)
    assert caught.value.code is ErrorCode.LEASE_OVER
    await bench.all_dead(await bench.pids(1), within_s=0.1)


@pytest.mark.req("LSE-4")
async def test_a_dead_guard_is_told_and_its_tree_is_gone(bench: Any, tmp_path: Path) -> None:
    inner = f"echo $$ >> {tmp_path}/pids; exec sleep 1000"
    script = (
        f"setsid sh -c '{inner}' & (setsid sh -c '{inner}' &) ; echo $$ >> {tmp_path}/pids; wait"
    )
    endings = []

    async def run() -> None:
        endings.append(await bench.shell(script))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        pids = await bench.pids(3)
        guard = bench.processes()[0]
        os.kill(guard, signal.SIGKILL)
    assert (endings[0].outcome, endings[0].reason) == (Outcome.TRANSIENT, ReasonCode.GUARD_LOST)
    await bench.all_dead(pids)


@pytest.mark.req("LSE-4")
async def test_a_frozen_guard_cannot_keep_its_tree_from_being_canceled(
    bench: Any, tmp_path: Path
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(bench.shell, f"echo $$ >> {tmp_path}/pids; sleep 1000")
        pids = await bench.pids(1)
        os.kill(bench.processes()[0], signal.SIGSTOP)
        group.cancel_scope.cancel()
    await bench.all_dead(pids, within_s=0.1)
