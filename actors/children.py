"""Child processes of the supervisor: started, watched through their pidfd, asked to leave, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from orch.ports import Clock


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack."""

    name: str
    """Unique in the stack: runner-1."""
    role: str
    args: tuple[str, ...] = ()
    keeps: tuple[int, ...] = ()
    """Descriptors it inherits."""
    has_lifeline: bool = False


class Child:
    """A running part."""

    def __init__(self, part: Part, env: dict[str, str]) -> None:
        self.part = part
        ready_read, ready_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe() if part.has_lifeline else (-1, -1)
        lifeline = ("--lifeline-fd", str(lifeline_write)) if part.has_lifeline else ()
        argv = [
            sys.executable, "-P", "-m", "actors", part.role, *part.args, *lifeline,
            "--ready-fd", str(ready_write), "--parent", str(os.getpid()),
        ]  # fmt: skip
        keeps = (*part.keeps, ready_write, *((lifeline_write,) if part.has_lifeline else ()))
        self.process = subprocess.Popen(
            argv, env=env, pass_fds=keeps, stdin=subprocess.DEVNULL, start_new_session=True
        )
        os.close(ready_write)
        if part.has_lifeline:
            os.close(lifeline_write)
        self._ready_fd = ready_read
        self._lifeline_fd = lifeline_read

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def ready(self) -> int | None:
        """The metrics port, once it announced it; None when it died first."""
        await anyio.wait_readable(self._ready_fd)
        line = os.read(self._ready_fd, 4096)
        os.close(self._ready_fd)
        return int(json.loads(line)["metrics_port"]) if line else None

    async def ended(self) -> int:
        """Its exit code, negative for a signal."""
        pidfd = os.pidfd_open(self.pid)
        try:
            await anyio.wait_readable(pidfd)
        finally:
            os.close(pidfd)
        return self.process.wait()

    async def guards_gone(self) -> None:
        """Returns when it and every guard it started have exited: nobody holds the lifeline."""
        if self._lifeline_fd < 0:
            return
        await anyio.wait_readable(self._lifeline_fd)
        os.close(self._lifeline_fd)
        self._lifeline_fd = -1

    def ask_to_leave(self) -> None:
        """SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()


async def leave_together(children: Sequence[Child], clock: Clock, *, within_ms: int) -> None:
    """Asks all to leave, waits, kills the rest; nobody is left behind."""
    for child in children:
        child.ask_to_leave()
    until = clock.monotonic_ms() + within_ms
    while any(child.process.poll() is None for child in children):
        if clock.monotonic_ms() > until:
            for child in children:
                child.kill()
        await clock.sleep_ms(20)
