"""Drill of ops/runbooks/commands-open.md: a runner stands still, and a drain waits for it."""

from __future__ import annotations

import os
import signal
import urllib.request
from typing import Final

from contracts.commands import CommandStatus
from contracts.control import ControlRecord
from ops.drills.load import Load
from ops.drills.scene import Scene
from ops.drills.stack import Stack, stack

COMMAND: Final = "drain-before-work"
_SILENCE_S: Final = 0.5


def play(scene: Scene) -> None:
    """Show it."""
    # Long leases: a reaper would bury the silent runner, and the command would not be stuck for long.
    house = stack(scene, runners=2, lease_ms=30_000)
    house.up()
    load = Load(scene, "work")
    load.echoes(house, 80, each_ms=40)
    load.some_done(house, 5)
    victim = house.parts()["runner"][0].pid
    scene.step(f"a runner stands still (SIGSTOP to {victim}), then an operator drains the pool")
    os.kill(victim, signal.SIGSTOP)
    house.orch("control", "drain", "pool:default", "--id", COMMAND, show=False)
    scene.until("the other runner obeys", lambda: bool(_record(house).acked) and _waits(house) == 1)
    house.orch("control", "status", COMMAND)
    scene.until(
        'orch_control_commands_total{command="drain",result="applied"} is 1',
        lambda: house.total("orch_control_commands_total", command="drain", result="applied") == 1,
    )
    scene.step("who does not answer on its own port?")
    silent = [part for part in house.endpoint()["metrics"] if not _is_live(house, part)]
    scene.equal(
        "one part, a runner", [name.rpartition("-")[0] for name in silent], ["runner-default"]
    )
    scene.step("that one process is ended; the supervisor starts it again")
    os.kill(victim, signal.SIGKILL)
    ended = scene.until("the command is over", lambda: _over(house))
    scene.equal("it ended as", ended.status.value, CommandStatus.DONE.value)
    scene.saw(f"outcome: {ended.outcome}")
    house.orch("control", "undrain", "pool:default", "--wait", show=False)
    load.all_done_once(house)


def _record(house: Stack) -> ControlRecord:
    return house.ask(lambda client: client.commanded(COMMAND))


def _waits(house: Stack) -> int:
    return len(_record(house).waiting)


def _over(house: Stack) -> ControlRecord | None:
    record = _record(house)
    return record if record.ended_at_ms is not None else None


def _is_live(house: Stack, part: str) -> bool:
    url = house.endpoint()["metrics"][part].replace("/metrics", "/livez")
    try:
        with urllib.request.urlopen(url, timeout=_SILENCE_S):
            return True
    except OSError:
        return False
