"""How does the runner hear and end one guarded process tree?

It never has a thread for a process: everything is awaited by readiness of a descriptor. What it cannot
ask of a dead or frozen guard it does itself, so that no tree outlives its scope.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

import anyio
from anyio import CancelScope, get_cancelled_exc_class, wait_readable

from orch.adapters.launch import Launched, launch
from orch.adapters.leases import KILL_LINE, Leases, write_line
from orch.adapters.sweep import CLAIM_MARK, WORKER_MARK, kill_below, kill_marked

CHUNK_BYTES: Final = 65_536
"""What a pipe holds: one read takes all that waits."""
TURNS_MAX: Final = 64
KILL_PATIENCE_S: Final = 2.0
"""How long a guard may take to kill and leave before the runner does it in its place."""


@dataclass(frozen=True, slots=True)
class GuardExit:
    """How the agent's main process ended, as its guard saw it."""

    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    """It never ran: not_found | not_executable | bad_cwd | spawn_failed."""
    errno: int | None = None
    killed: str | None = None
    """The guard sent KILL: lease (suspended too long) | order | runner."""
    lost: bool = False
    """The guard itself died or froze; nothing is known of the agent, except that it is gone now."""

    @property
    def shell_code(self) -> int | None:
        """The exit code as a shell tells it: 128 + n for signal n."""
        return self.exit_code if self.signal is None else 128 + self.signal


class GuardedProcess:
    """One agent under its guard. `start` is the way in for one run; `spawn` and `aclose` for a pool."""

    def __init__(self, launched: Launched, leases: Leases, mark: tuple[str, str] | None) -> None:
        self.stdout, self.stderr = launched.stdout, launched.stderr
        """Non-blocking read ends; their end of file comes when the whole tree is gone."""
        self.status_fd = launched.status_fd
        """Readable when `poll_exit` may have news, for those who wait on several descriptors."""
        self.guard_pid = launched.guard.pid
        self.pid: int | None = None
        self.suspended = False
        self.suspensions = 0
        self.turns: deque[str] = deque(maxlen=TURNS_MAX)
        """`suspended` and `continued`, as the guard told them, not yet taken by `turned`."""
        self._turn = anyio.Event()
        self._guard = launched.guard
        self._control_fd = launched.control_fd
        self._leases = leases
        self.marks = set() if mark is None else {mark}
        """What the environment of its processes carries: they are found by it when the guard is lost."""
        self._pidfd = os.pidfd_open(launched.guard.pid)
        self._exit: GuardExit | None = None
        self._status = b""
        self._closed = False

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        cwd: str | None,
        env: Mapping[str, str],
        stdin: bytes | None = None,
        leases: Leases,
        kept_fds: Sequence[int] = (),
    ) -> Self:
        """Starts guard and agent; the caller owes an `aclose`. A program that cannot be started is told
        by `wait`, not here. `kept_fds` are inherited by the agent under the same numbers.

        Raises:
            Refused: LEASE_OVER, the runner was condemned.
            OSError: the host has no descriptor, memory or process left.
        """
        launched = launch(argv, cwd=cwd, env=env, stdin=stdin, leases=leases, kept_fds=kept_fds)
        mark = next(((key, env[key]) for key in (CLAIM_MARK, WORKER_MARK) if key in env), None)
        return cls(launched, leases, mark)

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        argv: Sequence[str],
        *,
        cwd: str | None,
        env: Mapping[str, str],
        stdin: bytes | None = None,
        leases: Leases,
        grace_ms: int = 0,
    ) -> AsyncIterator[Self]:
        """A running agent; leaving the scope ends its tree: after TERM and the grace when canceled, at
        once otherwise."""
        process = cls.spawn(argv, cwd=cwd, env=env, stdin=stdin, leases=leases)
        try:
            yield process
        except get_cancelled_exc_class():
            await process.aclose(grace_ms=grace_ms)
            raise
        finally:
            await process.aclose()

    def poll_exit(self) -> GuardExit | None:
        """Reads what the guard has said so far; the agent's end, once it is known."""
        while self._exit is None:
            try:
                data = os.read(self.status_fd, CHUNK_BYTES)
            except BlockingIOError:
                return None
            if not data:  # only the guard holds the other end: it is gone without having reported
                self._exit = GuardExit(lost=True)
                self._sweep()
                break
            *lines, self._status = (self._status + data).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
        return self._exit

    async def wait(self) -> GuardExit:
        """Until the agent's main process has ended; what it left is being killed then. One waiter."""
        while (ended := self.poll_exit()) is None:
            await wait_readable(self.status_fd)
        return ended

    async def turned(self) -> str:
        """The first of `turns`, waiting for one; who takes it also removes it. Another must be in `wait`."""
        while not self.turns:
            await self._turn.wait()
            self._turn = anyio.Event()
        return self.turns[0]

    async def gone(self) -> None:
        """Until the guard has left, which it does only when no process of the tree is alive."""
        if self._guard.returncode is None:
            await wait_readable(self._pidfd)
            self._guard.wait()

    def stop(self, grace_ms: int) -> None:
        """TERM to the tree, KILL after the grace; `wait` tells the end."""
        write_line(self._control_fd, f"stop {grace_ms}\n".encode())

    def kill(self) -> None:
        """KILL to the tree; `wait` tells the end."""
        write_line(self._control_fd, KILL_LINE)

    def guard_is_frozen(self) -> bool:
        """Whether somebody stopped the guard, so that it can neither report nor obey."""
        try:
            with open(f"/proc/{self.guard_pid}/stat", "rb") as file:
                return file.read().rpartition(b") ")[2][:1] == b"T"
        except OSError:
            return False

    def destroy(self) -> GuardExit:
        """Kills the tree and its guard without the guard's help; the end counts as lost."""
        kill_below(self.guard_pid)
        if self._guard.poll() is None:
            self._guard.kill()
            self._guard.wait()
        self._sweep()
        self._exit = self._exit or GuardExit(lost=True)
        return self._exit

    async def aclose(self, *, grace_ms: int = 0) -> None:
        """Ends the tree if it lives and releases everything; idempotent, never interrupted."""
        if self._closed:
            return
        self._closed = True
        with CancelScope(shield=True):
            if not self.guard_is_frozen():
                await self._end(grace_ms)
            self._release()

    async def _end(self, grace_ms: int) -> None:
        """Has the guard end the tree, for as long as a guard that works may take."""
        with anyio.move_on_after(grace_ms / 1000 + KILL_PATIENCE_S):
            if grace_ms > 0 and self.poll_exit() is None:
                self.stop(grace_ms)
                await self._drained()
            else:
                self.kill()
                await self.gone()

    async def _drained(self) -> None:
        """Until the tree has gone, throwing its last words away: it must not block on a full pipe."""
        async with anyio.create_task_group() as group:
            group.start_soon(_discard, self.stdout)
            group.start_soon(_discard, self.stderr)
            await self.gone()
            group.cancel_scope.cancel()

    def _release(self) -> None:
        if self._guard.returncode is None:
            self.destroy()
        self.poll_exit()
        self._leases.dismiss(self._control_fd)
        for fd in (self._control_fd, self.status_fd, self.stdout, self.stderr, self._pidfd):
            os.close(fd)

    def _sweep(self) -> None:
        """The agent dies with its guard (death signal); its descendants are found by their mark."""
        for mark in self.marks:
            kill_marked(*mark)

    def _hear(self, line: dict[str, int | str | None]) -> None:
        event = line.pop("event")
        if event == "started":
            self.pid = int(line["pid"] or 0)
        elif event in ("suspended", "continued"):
            self.suspended = event == "suspended"
            self.suspensions += self.suspended
            self.turns.append(str(event))
            self._turn.set()
        elif event == "exit":
            self._exit = GuardExit(**line)  # type: ignore[arg-type]  # the guard's own words


async def _discard(fd: int) -> None:
    while True:
        try:
            if not os.read(fd, CHUNK_BYTES):
                return
        except BlockingIOError:
            await wait_readable(fd)
