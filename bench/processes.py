"""Programs that a run starts: they end with the run, and their CPU is counted over their whole tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PAUSE_S: Final = 0.002
GONE_S_MAX: Final = 5.0
"""A killed process that is busy in the kernel for longer is left behind."""

# The parent-death signal must be asked for by the child itself; it stays over exec.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Process:
    """A program of ours; what it says is in its log."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None

    def cpu_s(self) -> float:
        """CPU time of it and of everything below it that still runs."""
        return sum(_cpu_s(pid) for pid in tree_of([self.pid]))

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-800:].strip()

    @staticmethod
    def pause() -> None:
        """Between two looks at a fact."""
        time.sleep(PAUSE_S)


def start(
    words: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Starts a program in a session of its own; it is killed when this process ends."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [*launcher, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    return Process(popen, log)


def kill_tree(processes: Iterable[Process]) -> None:
    """SIGKILL to them and to everything below them; returns when they are gone."""
    several = list(processes)
    # Stopped first, the tops before what is below them: nobody starts anything new meanwhile.
    for pid in tree_of(process.pid for process in several):
        _send(pid, signal.SIGSTOP)
    pids = tree_of(process.pid for process in several)
    for pid in pids:
        _send(pid, signal.SIGKILL)
    for process in several:
        process.popen.wait()
    until = time.monotonic() + GONE_S_MAX
    while any(is_alive(pid) for pid in pids) and time.monotonic() < until:
        Process.pause()


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    stat = _stat(pid)
    return bool(stat) and stat[0] not in "ZX"


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def tree_of(roots: Iterable[int]) -> list[int]:
    """These processes and everything below them, the tops first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = list(roots)
    for pid in found:  # grows while it is read
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_s(pid: int) -> float:
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) * TICK_S if stat else 0.0
