"""The boundary: whatever goes wrong inside an adapter ends one attempt and nothing else."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.protocol import Ending
from orch.adapters.registry import Bounded

pytestmark = pytest.mark.req("RUN-1")


class Raising:
    """An adapter that fails in a task of its own, as the shipped ones would."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = errors

    async def run(self, run: Any, desk: Any) -> Ending:
        async def fail(error: Exception) -> None:
            raise error

        async with anyio.create_task_group() as group:
            for error in self._errors:
                group.start_soon(fail, error)
        raise AssertionError("the group has raised")


async def test_a_fault_of_the_host_ends_the_attempt_as_transient(bench: Any) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    ending = await Bounded(Raising(full)).run(bench.job("command", argv=["true"]), bench.desk)
    assert (ending.outcome, ending.reason) == (Outcome.TRANSIENT, ReasonCode.INTERNAL)
    assert "No space left" in ending.message


@pytest.mark.parametrize("kind", [Refused, Unavailable])
async def test_errors_of_the_catalogue_pass_out_of_their_task(bench: Any, kind: type) -> None:
    over = kind(ErrorCode.LEASE_OVER, "over")
    with pytest.raises(kind) as caught:
        await Bounded(Raising(OSError("other"), over)).run(
            bench.job("command", argv=["true"]), bench.desk
        )
    assert caught.value is over


async def test_an_unknown_adapter_is_refused(bench: Any) -> None:
    with pytest.raises(Refused) as caught:
        bench.adapters.adapter_for("tmux")
    assert caught.value.code is ErrorCode.INVALID_SPEC


@pytest.mark.req("LSE-4")
async def test_a_python_call_whose_guard_dies_is_told_and_its_worker_is_gone(
    bench: Any, tmp_path: Path
) -> None:
    (tmp_path / "hang.py").write_text(
        "import os, time\n"
        "def f(file):\n"
        "    open(file, 'a').write(f'{os.getpid()}\\n')\n"
        "    time.sleep(1000)\n"
    )
    endings: list[Ending] = []

    async def run() -> None:
        args = [str(tmp_path / "pids")]
        endings.append(await bench.run("python", callable="hang:f", args=args, path=str(tmp_path)))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        pids = await bench.pids(1)
        os.kill(bench.processes()[0], signal.SIGKILL)
    assert (endings[0].outcome, endings[0].reason) == (Outcome.TRANSIENT, ReasonCode.GUARD_LOST)
    await bench.all_dead(pids)
    assert (await bench.shell("true")).outcome is Outcome.DONE
