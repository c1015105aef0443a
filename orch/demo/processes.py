"""Processes of this machine, as /proc shows them; a process is its id and its start, for ids are reused."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

SERVER: Final = "server"


@dataclass(frozen=True, slots=True)
class Process:
    """One process; equal only to itself."""

    pid: int
    started: int
    """In clock ticks since the machine booted."""
    parent: int = field(compare=False)
    role: str = field(compare=False)
    """Of an actor its role; whatever else a supervisor starts is the server."""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process of this id that lives now; a zombie does not."""
        fields = _stat(pid)
        if fields is None or fields[0] in {"Z", "X"}:
            return None
        return cls(pid, started=int(fields[19]), parent=int(fields[1]), role=_role(pid))


def lives(process: Process) -> bool:
    """Whether it is still there."""
    return Process.of(process.pid) == process


def children_of(pid: int) -> list[Process]:
    """Its children that live now, by role."""
    found = (
        Process.of(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()
    )
    return sorted(
        (process for process in found if process is not None and process.parent == pid),
        key=lambda process: (process.role, process.pid),
    )


def kill(process: Process) -> None:
    """SIGKILL, unless it has ended."""
    if lives(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _role(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    return words[words.index("actors") + 1] if "actors" in words[:-1] else SERVER
