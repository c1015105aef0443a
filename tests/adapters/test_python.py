"""`python`: a call by import path, in a worker that is killed and replaced without hurting its neighbours."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.outcomes import Outcome, ReasonCode

pytestmark = pytest.mark.req("RUN-1")

MODULE = """
import asyncio, ctypes, os, subprocess, sys, threading, time
from pathlib import Path

value = 7
calls = []

def add(a, b=1): return a + b
async def add_later(a, b=1):
    await asyncio.sleep(0)
    return a + b
def environment(): return {k: v for k, v in os.environ.items() if k.startswith("ORCH_")}
def pid(): return os.getpid()
def fails(): raise ValueError("ünlucky")
def strange():
    class Odd(Exception):
        def __str__(self): raise RuntimeError
    raise Odd
def exits(): sys.exit(5)
def exits_hard(): os._exit(6)
def crashes(): ctypes.string_at(0)
def says(): print("last words", flush=True); os._exit(0)
def note(folder):
    with open(f"{folder}/pids", "a") as file: file.write(f"{os.getpid()}\\n")
def blocks(folder):
    note(folder)
    while True: time.sleep(1000)
def spawns(folder, wait=False):
    code = f"echo $$ >> {folder}/pids; exec sleep 1000"
    subprocess.Popen(["setsid", "sh", "-c", f"(setsid sh -c '{code}' &)"])
    while not Path(folder, "pids").exists(): time.sleep(0.01)
    if wait: time.sleep(1000)
def runs_a_child(): return subprocess.run(["echo", "from the child"]).returncode
def prints():
    print("to stdout: ünï")
    print("to stderr", file=sys.stderr)
    os.write(1, b"raw out\\n")
    os.write(2, b"raw err\\n")
def prints_much(n): sys.stdout.write("x" * n)
def prints_then_waits(go):
    print("still here")
    while not Path(go).exists(): time.sleep(0.01)
def unserialisable(): return object()
def large(n): return "y" * n
def echo(value): return value
def pollutes(folder):
    os.environ["MINE"] = "1"
    os.chdir(folder)
    sys.stdout = None
def sees(): return [os.environ.get("MINE"), os.getcwd(), sys.stdout is None]
def drops(): Path(os.environ["ORCH_ARTIFACT_DIR"], "made.txt").write_text("made")
async def leaves_a_task():
    async def later():
        await asyncio.sleep(0.2)
        print("too late")
    calls.append(asyncio.create_task(later()))
async def sleeps(): await asyncio.sleep(1000)
async def fails_later(): raise KeyError("k")
class Agent:
    @staticmethod
    def act(): return "acted"
"""


@pytest.fixture
def call(bench: Any, tmp_path: Path) -> Callable[..., Any]:
    """Calls a function of the module above, or of another one."""
    path = tmp_path / "code"
    path.mkdir()
    (path / "agentcode.py").write_text(MODULE)

    async def called(name: str, *args: Any, **config: Any) -> Any:
        target = name if ":" in name else f"agentcode:{name}"
        return await bench.run(
            "python", **{"callable": target, "args": list(args), "path": str(path), **config}
        )

    return called


@pytest.mark.parametrize("isolation", ["process", "inline"])
async def test_an_async_function_returns_its_value(call: Any, isolation: str) -> None:
    ending = await call("add_later", 2, kwargs={"b": 3}, isolation=isolation)
    assert (ending.outcome, ending.reason, ending.result) == (Outcome.DONE, ReasonCode.COMPLETED, 5)


async def test_a_sync_function_a_method_and_any_json_come_back(call: Any) -> None:
    assert (await call("add", 2)).result == 3
    assert (await call("Agent.act")).result == "acted"
    value = {"ünï": [1, 2.5, None, True, "\0"], "deep": {"er": [[]]}}
    assert (await call("echo", value)).result == value


async def test_values_larger_than_any_pipe_pass_both_ways(call: Any) -> None:
    text = "z" * 900_000
    assert (await call("echo", text)).result == text
    assert len((await call("large", 5_000_000)).result) == 5_000_000


@pytest.mark.req("LSE-5")
async def test_the_job_s_variables_are_there_during_the_call_only(bench: Any, call: Any) -> None:
    seen = (await call("environment")).result
    folder = seen.pop("ORCH_ARTIFACT_DIR")
    assert folder.startswith(str(bench.workshop.scratch))
    assert seen == {
        "ORCH_JOB_ID": "job-1",
        "ORCH_ATTEMPT": "1",
        "ORCH_FENCE": str(2**32 + 1),
        "ORCH_CLAIM": bench.job("command", argv=["true"]).claim.text,
        "ORCH_URL": "http://127.0.0.1:1",
        "ORCH_TOKEN": "token-of-job-1",
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:f", "no_such_module"),
        ("agentcode:missing", "missing"),
        ("agentcode:value", "not callable"),
        ("agentcode:Agent.missing", "missing"),
    ],
)
async def test_a_callable_that_is_not_there_is_an_environment_fault(
    call: Any, name: str, message: str
) -> None:
    ending = await call(name)
    assert (ending.outcome, ending.reason) == (Outcome.ENVIRONMENT, ReasonCode.NOT_FOUND)
    assert message in ending.message


async def test_an_exception_is_told_with_its_traceback(bench: Any, call: Any) -> None:
    ending = await call("fails")
    assert (ending.outcome, ending.reason) == (Outcome.LOGIC, ReasonCode.EXCEPTION)
    assert ending.message == "ValueError: ünlucky"
    assert "in fails" in bench.desk.text("stderr")
    assert "pool_worker" not in bench.desk.text("stderr")
    assert (await call("strange")).reason is ReasonCode.EXCEPTION
    assert (await call("fails_later")).message == "KeyError: 'k'"


async def test_a_result_that_json_cannot_hold_is_the_callable_s_fault(call: Any) -> None:
    ending = await call("unserialisable")
    assert (ending.outcome, ending.reason) == (Outcome.LOGIC, ReasonCode.EXCEPTION)
    assert "not JSON" in ending.message


@pytest.mark.parametrize(("name", "exit_code"), [("exits", 5), ("exits_hard", 6), ("crashes", 139)])
async def test_a_call_that_ends_its_worker_hurts_nobody_else(
    bench: Any, call: Any, tmp_path: Path, name: str, exit_code: int
) -> None:
    neighbours: list[Any] = []

    async def neighbour() -> None:
        neighbours.append(await call("prints_then_waits", str(tmp_path / "go")))

    async with anyio.create_task_group() as group:
        group.start_soon(neighbour)
        await bench.until(lambda: "still here\n" in bench.desk.text())
        ending = await call(name)
        assert (ending.outcome, ending.reason) == (Outcome.LOGIC, ReasonCode.WORKER_EXITED)
        assert ending.exit_code == exit_code
        assert (await call("add", 1)).result == 2
        (tmp_path / "go").touch()
    assert neighbours[0].outcome is Outcome.DONE


async def test_a_worker_whose_guard_is_killed_takes_no_neighbour_with_it(
    bench: Any, call: Any, tmp_path: Path
) -> None:
    endings: dict[str, Any] = {}

    async def one(name: str, function: str, argument: Path) -> None:
        endings[name] = await call(function, str(argument))

    async with anyio.create_task_group() as group:
        group.start_soon(one, "neighbour", "prints_then_waits", tmp_path / "go")
        await bench.until(lambda: "still here\n" in bench.desk.text())
        group.start_soon(one, "victim", "blocks", tmp_path)
        [victim] = await bench.pids(1)
        guard = int(Path(f"/proc/{victim}/stat").read_text().rpartition(") ")[2].split()[1])
        os.kill(guard, signal.SIGKILL)
        await bench.until(lambda: "victim" in endings)
        (tmp_path / "go").touch()
    assert (endings["victim"].outcome, endings["victim"].reason) == (
        Outcome.TRANSIENT,
        ReasonCode.GUARD_LOST,
    )
    assert endings["neighbour"].outcome is Outcome.DONE


@pytest.mark.req("LSE-4")
async def test_what_a_call_started_dies_with_its_guard(
    bench: Any, call: Any, tmp_path: Path
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(call, "spawns", str(tmp_path), True)
        [orphan] = await bench.pids(1)
        guard = bench.processes()[0]
        os.kill(guard, signal.SIGKILL)
    await bench.all_dead([orphan], within_s=1)


async def test_the_last_words_of_a_worker_are_kept(bench: Any, call: Any) -> None:
    assert (await call("says")).reason is ReasonCode.WORKER_EXITED
    assert bench.desk.text() == "last words\n"


@pytest.mark.req("RUN-3")
@pytest.mark.parametrize("isolation", ["process", "inline"])
async def test_a_call_past_its_wall_limit_ends(call: Any, isolation: str) -> None:
    ending = await call("sleeps", wall_ms=300, isolation=isolation)
    assert (ending.outcome, ending.reason) == (Outcome.RESOURCE, ReasonCode.WALL_LIMIT)
    assert (await call("add", 1)).result == 2


@pytest.mark.req("RUN-3", "RUN-4")
async def test_a_blocking_call_dies_with_its_worker_at_the_limit_and_at_cancel(
    bench: Any, call: Any, tmp_path: Path, stopwatch: Callable[[], float]
) -> None:
    ending = await call("blocks", str(tmp_path), wall_ms=300)
    assert ending.reason is ReasonCode.WALL_LIMIT
    await bench.all_dead(await bench.pids(1), within_s=0.1)
    async with anyio.create_task_group() as group:
        group.start_soon(call, "blocks", str(tmp_path))
        pids = await bench.pids(2)
        began = stopwatch()
        group.cancel_scope.cancel()
    assert stopwatch() - began < 1
    await bench.all_dead(pids, within_s=0.1)


async def test_a_worker_is_reused_for_its_path_and_no_other(call: Any, tmp_path: Path) -> None:
    first = (await call("pid")).result
    assert (await call("pid")).result == first
    other = tmp_path / "other"
    other.mkdir()
    (other / "agentcode.py").write_text("import os\ndef pid(): return -os.getpid()\n")
    assert (await call("pid", path=str(other))).result < 0
    assert (await call("pid")).result == first


async def test_more_paths_than_workers_take_turns(call: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "a"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "mod.py").write_text(f"def f(): return {name!r}\n")
        assert (await call("mod:f", path=str(folder))).result == name


async def test_changed_sources_are_imported_anew(call: Any, tmp_path: Path) -> None:
    source = tmp_path / "code" / "version.py"
    source.write_text("def number(): return 1\n")
    assert (await call("version:number")).result == 1
    source.write_text("def number(): return 1 + 1\n")
    assert (await call("version:number")).result == 2


async def test_what_a_call_changed_in_its_process_is_put_back(call: Any, tmp_path: Path) -> None:
    before = (await call("sees")).result
    assert (await call("pollutes", str(tmp_path))).outcome is Outcome.DONE
    assert (await call("sees")).result == before == [None, os.getcwd(), False]


@pytest.mark.req("RUN-2")
async def test_all_that_a_call_prints_reaches_its_own_job(bench: Any, call: Any) -> None:
    await call("prints")
    await call("runs_a_child")
    await call("prints_much", 1_000_000)
    assert bench.desk.text() == "to stdout: ünï\nraw out\nfrom the child\n" + "x" * 1_000_000
    assert bench.desk.text("stderr") == "to stderr\nraw err\n"


@pytest.mark.req("RUN-2")
async def test_a_line_is_seen_while_the_call_still_runs(
    bench: Any, call: Any, tmp_path: Path
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(call, "prints_then_waits", str(tmp_path / "go"))
        await bench.until(lambda: bench.desk.text() == "still here\n", within_s=5)
        (tmp_path / "go").touch()


@pytest.mark.req("LSE-4")
async def test_processes_a_call_leaves_are_killed_though_they_forked_twice(
    bench: Any, call: Any, tmp_path: Path
) -> None:
    assert (await call("spawns", str(tmp_path))).outcome is Outcome.DONE
    await bench.all_dead(await bench.pids(1), within_s=0.1)
    assert (await call("add", 1)).result == 2


async def test_a_task_a_call_leaves_is_canceled(bench: Any, call: Any) -> None:
    before = (await call("pid")).result
    assert (await call("leaves_a_task")).outcome is Outcome.DONE
    assert (await call("sleeps", wall_ms=400)).reason is ReasonCode.WALL_LIMIT
    assert bench.desk.text() == ""
    assert before > 0


async def test_files_in_the_artifact_folder_are_recorded(bench: Any, call: Any) -> None:
    assert (await call("drops")).outcome is Outcome.DONE
    assert bench.desk.artifacts == {"made.txt": b"made"}
    bench.desk.artifacts.clear()
    assert (await call("add", 1)).outcome is Outcome.DONE
    assert bench.desk.artifacts == {}


async def test_inline_takes_async_functions_only(call: Any) -> None:
    ending = await call("add", 1, isolation="inline")
    assert (ending.outcome, ending.reason) == (Outcome.ENVIRONMENT, ReasonCode.BAD_CONFIG)
    missing = await call("agentcode:missing", isolation="inline")
    assert (missing.outcome, missing.reason) == (Outcome.ENVIRONMENT, ReasonCode.NOT_FOUND)


async def test_inline_exceptions_are_told_with_their_traceback(bench: Any, call: Any) -> None:
    ending = await call("fails_later", isolation="inline")
    assert (ending.outcome, ending.reason) == (Outcome.LOGIC, ReasonCode.EXCEPTION)
    assert ending.message == "KeyError: 'k'"
    assert "in fails_later" in bench.desk.text("stderr")


async def test_more_calls_than_workers_wait_for_their_turn(call: Any) -> None:
    results: list[int] = []

    async def one(number: int) -> None:
        results.append((await call("add", number)).result)

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(one, number)
    assert sorted(results) == list(range(1, 201))
