"""Who tells the guards that the runner's lease holds?

The keeper, a thread that user code cannot starve, calls `confirm` after each acknowledged beat. Nothing
here blocks: a line is shorter than PIPE_BUF, so it is written whole or not at all, and a guard whose pipe
is full is frozen and would not read it anyway.
"""

from __future__ import annotations

import os
import threading
from typing import Final

from contracts.errors import ErrorCode, Refused
from contracts.limits import STOP_FRACTION

KILL_LINE: Final = b"kill\n"


def write_line(fd: int, line: bytes) -> None:
    """Writes to a guard; one that is gone or frozen is dealt with where its end is awaited."""
    try:
        os.write(fd, line)
    except (BlockingIOError, BrokenPipeError):
        return


class Leases:
    """The control pipes of all living guards of one runner. Thread-safe.

    `lifeline_fd`, when given, is held open by every guard and by no agent: whoever reads its other end
    meets end of file when the runner and all its guards are gone.
    """

    def __init__(self, *, suspend_max_ms: int, lifeline_fd: int | None = None) -> None:
        self.lifeline_fd = lifeline_fd
        self._suspend_max_ms = suspend_max_ms
        self._lock = threading.Lock()
        self._fds: set[int] = set()
        self._terms = ""
        self._sent_ms = -1
        self._stop_ms = -1
        self._over = False

    def confirm(self, sent_ms: int, lease_ms: int) -> None:
        """The beat SENT at monotonic `sent_ms` was acknowledged for a lease of `lease_ms`."""
        with self._lock:
            if sent_ms < self._sent_ms and not self._over:
                return
            self._over = False
            self._sent_ms = sent_ms
            self._stop_ms = sent_ms + int(lease_ms * STOP_FRACTION)
            self._terms = f"{sent_ms} {self._stop_ms - sent_ms} {self._suspend_max_ms}"
            self._tell(f"lease {self._terms}\n".encode())

    @property
    def holds(self) -> bool:
        """Whether work may start: a beat was acknowledged, and the runner was not condemned since."""
        return self._terms != ""

    @property
    def acts_until_ms(self) -> int:
        """Monotonic: what has no guard acts no longer than this without another confirmed beat; long past
        when nothing may act."""
        with self._lock:
            return self._stop_ms if self._terms else -1

    def condemn(self) -> None:
        """The runner is over: every tree is killed now, none may start until the next `confirm`."""
        with self._lock:
            self._over = True
            self._terms = ""
            self._tell(KILL_LINE)

    def enlist(self, control_fd: int) -> str:
        """Adds a guard's pipe; returns the lease as its order wants it (empty before the first beat).

        Raises:
            Refused: LEASE_OVER after `condemn`.
        """
        with self._lock:
            if self._over:
                raise Refused(
                    ErrorCode.LEASE_OVER, "this runner's lease is over; nothing may start"
                )
            self._fds.add(control_fd)
            return self._terms

    def dismiss(self, control_fd: int) -> None:
        """Forgets a pipe; must come before its descriptor is closed."""
        with self._lock:
            self._fds.discard(control_fd)

    def _tell(self, line: bytes) -> None:
        for fd in self._fds:
            write_line(fd, line)
