"""How does a drill start programs so that they end with it, however it ends?

A child gets a session of its own, so that Ctrl-C reaches the drill alone and the order of taking down is
ours; and it asks the kernel for a signal when the drill dies: even a kill of that leaves no server behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from orch.cli.stack import actors_environ

ROOT: Final = Path(__file__).resolve().parents[2]
END_S: Final = 20.0

# As in orch/store/embedded.py: the signal belongs to the thread that forks, and the child must ask for it.
_LAUNCHER: Final = """
import ctypes, os, sys
number, parent, *argv = sys.argv[1:]
ctypes.CDLL(None).prctl(1, int(number))
if os.getppid() != int(parent):
    sys.exit("the drill is gone")
os.execvp(argv[0], argv)
"""


def start(
    argv: Sequence[str],
    log: Path,
    *,
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    at_our_end: int = signal.SIGKILL,
    before: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """The program, its output appended to `log`; `before` are words of a program that carries it out."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(int(at_our_end)), str(os.getpid())]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*before, *launcher, *argv], cwd=cwd, env=environ, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """Signals it and waits; SIGKILL when it takes too long. What has ended is only collected."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def environ_of(code: Path = ROOT) -> dict[str, str]:
    """The environment of a program of ours: Orch from that folder, nothing set for another stack."""
    kept = actors_environ({"PYTHONPATH": str(code)})
    return {key: value for key, value in kept.items() if not key.startswith(("ORCH_", "OTEL_"))}
