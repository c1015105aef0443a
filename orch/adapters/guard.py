"""The watchman: one small process per agent tree that never leaves a process behind.

A program of its own, of the standard library and little of it (its start is paid by every job), started by
`launch.py` in its own session; it outlives neither its runner nor its agent, whatever either of them does.

Order (fd 0, read to its end; fields closed by a zero byte, so no JSON is imported for it):
    control fd, status fd, stdin fd, stdout fd, stderr fd, kept fds (with blanks), lease (as in the line
    below, or empty), cwd (or empty), number of arguments, the arguments, the environment as K=V.
Control pipe, one line each:
    lease <sent_ms> <stop_after_ms> <suspend_max_ms>   a beat sent at sent_ms (CLOCK_MONOTONIC) was
        acknowledged: the tree may act until sent_ms + stop_after_ms
    stop <grace_ms>    TERM to the whole tree, KILL after the grace
    kill               KILL to the whole tree
    (end of file)      the runner is gone: KILL to the whole tree
Status pipe, one JSON object a line, {"event": started | suspended | continued | exit, …}; the exit line is
    {"event": "exit", "exit_code", "signal", "error", "errno", "killed"}, where error is not_found |
    not_executable | bad_cwd | spawn_failed, and killed is why the guard sent KILL: lease | order | runner.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from orch.adapters.birth import IGNORED_SIGNALS, Order, become_agent, error_word, prctl, read_order
from orch.adapters.tree import descendants, send

PR_SET_CHILD_SUBREAPER = 36
KILL_ROUND_MS = 20


def now_ms() -> int:
    """The clock of every lease line: the same for all processes of the host, unmoved by `date`."""
    return time.monotonic_ns() // 1_000_000


class Watchman:
    """One agent tree, from its start to its last process."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.agent = 0
        self.alone = False
        """No process is left below the guard."""
        self.exited = False
        self.killed = ""
        self.suspended_at: int | None = None
        self.kill_at: int | None = None
        self.stop_at: int | None = None
        self.suspend_max_ms = 0
        self.partial = b""
        self.wake_read, wake_write = os.pipe()
        for fd in (self.wake_read, wake_write, order.control_fd):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self.poller = select.poll()
        self.poller.register(order.control_fd, select.POLLIN)
        self.poller.register(self.wake_read, select.POLLIN)

    def report(self, event: str, **values: int | str | None) -> None:
        """One status line. A runner that is gone cannot be told; its death arrives by the control pipe."""
        words = [f'"event": "{event}"']
        for key, value in values.items():
            text = (
                "null" if value is None else str(value) if isinstance(value, int) else f'"{value}"'
            )
            words.append(f'"{key}": {text}')
        try:
            os.write(self.order.status_fd, ("{" + ", ".join(words) + "}\n").encode())
        except OSError:
            return

    def report_exit(
        self,
        exit_code: int | None,
        number: int | None,
        error: str | None = None,
        errno: int | None = None,
    ) -> None:
        """The last line about the agent's main process."""
        self.exited = True
        self.report(
            "exit",
            exit_code=exit_code,
            signal=number,
            error=error,
            errno=errno,
            killed=self.killed or None,
        )

    def spawn(self) -> bool:
        """Starts the agent; False when it could not, which is reported."""
        for name in os.listdir("/proc/self/fd"):
            fd = int(name)
            if fd > 2 and fd not in self.order.kept_fds:
                try:
                    os.set_inheritable(fd, False)
                except OSError:  # the listing's own descriptor
                    continue
        error_read, error_write = os.pipe()
        guard = os.getpid()
        self.agent = os.fork()
        if self.agent == 0:
            become_agent(self.order, guard, error_write)
        for fd in {error_write, *self.order.streams, *self.order.kept_fds}:
            os.close(fd)
        fault = os.read(error_read, 64).decode().split()
        os.close(error_read)
        if not fault:
            self.report("started", pid=self.agent)
            if self.kill_at is not None:  # told to stop before there was anybody to tell
                self.signal_tree(signal.SIGTERM)
            return True
        stage, errno = fault[0], int(fault[1])
        self.report_exit(None, None, error_word(stage, errno), errno)
        return False

    def reap(self) -> None:
        """Takes every dead child; notes the agent's end."""
        while not self.alone:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.alone = True
                return
            if pid == 0:
                return
            if pid == self.agent and not self.exited:
                code = os.waitstatus_to_exitcode(status)
                self.report_exit(code if code >= 0 else None, -code if code < 0 else None)

    def signal_tree(self, *numbers: int) -> None:
        """Sends each number to every living process of the tree, parents first, once."""
        for pid, state in descendants(os.getpid()):
            if state not in "ZX":
                for number in numbers:
                    send(pid, number)

    def suspend(self) -> None:
        """STOP to the whole tree, repeated until no unstopped process is found."""
        stopped: set[int] = set()
        while True:
            living = [pid for pid, state in descendants(os.getpid()) if state not in "ZX"]
            running = [pid for pid in living if pid not in stopped]
            if not running:
                break
            for pid in running:
                send(pid, signal.SIGSTOP)
            stopped.update(running)
        self.suspended_at = now_ms()
        self.report("suspended")

    def resume(self) -> None:
        """CONT to the whole tree."""
        self.suspended_at = None
        self.signal_tree(signal.SIGCONT)
        self.report("continued")

    def kill(self, why: str) -> None:
        """KILL to the whole tree, repeated until the kernel says that no child is left."""
        self.killed = self.killed or why
        while not self.alone:
            for pid, state in descendants(os.getpid()):
                if state not in "ZX":
                    send(pid, signal.SIGKILL)
            self.wait_for_child(KILL_ROUND_MS)
            self.reap()

    def wait_for_child(self, timeout_ms: int) -> None:
        """Until a child dies, at most `timeout_ms`."""
        select.select([self.wake_read], [], [], timeout_ms / 1000)
        self.drain_wake()

    def drain_wake(self) -> None:
        """Forgets which signals woke us; `reap` asks the kernel anyway."""
        try:
            while os.read(self.wake_read, 4096):
                pass
        except BlockingIOError:
            return

    def obey(self) -> None:
        """Reads all that the runner has written, then acts on it line by line.

        All lines are read before the lease is judged: a guard that was frozen itself must not stop its
        agent on a stale line when newer ones wait behind it.
        """
        data = self.partial
        gone = False
        while True:
            try:
                chunk = os.read(self.order.control_fd, 65536)
            except BlockingIOError:
                break
            if not chunk:
                gone = True
                break
            data += chunk
        *lines, self.partial = data.split(b"\n")
        for line in lines:
            self.obey_line(line.decode())
        if gone:
            self.kill("runner")

    def obey_line(self, line: str) -> None:
        """One line of the control pipe."""
        word, *numbers = line.split()
        if word == "lease":
            self.take_lease(numbers)
        elif word == "kill":
            self.kill("order")
        elif word == "stop":
            self.stop(int(numbers[0]))

    def take_lease(self, numbers: list[str]) -> None:
        """A newer confirmation moves the moment of stopping ahead, never back."""
        sent_ms, stop_after_ms, self.suspend_max_ms = (int(number) for number in numbers)
        self.stop_at = max(self.stop_at or 0, sent_ms + stop_after_ms)

    def stop(self, grace_ms: int) -> None:
        """TERM now, KILL after the grace. A suspended tree gets no grace: it must not act."""
        if self.suspended_at is not None:
            self.kill("order")
            return
        if self.kill_at is None:
            self.signal_tree(signal.SIGTERM, signal.SIGCONT)
            self.kill_at = now_ms() + grace_ms
        self.kill_at = min(self.kill_at, now_ms() + grace_ms)

    def judge(self) -> None:
        """Compares the clock with the lease and with the grace."""
        now = now_ms()
        if self.kill_at is not None and now >= self.kill_at:
            self.kill("order")
        elif self.stop_at is None:
            return
        elif now < self.stop_at:
            if self.suspended_at is not None:
                self.resume()
        elif self.kill_at is not None:  # in its grace it would act past the lease
            self.kill("lease")
        elif self.suspended_at is None:
            self.suspend()
        elif now >= self.suspended_at + self.suspend_max_ms:
            self.kill("lease")

    def next_at(self) -> int | None:
        """When `judge` has something to do even if nothing happens."""
        over_at = self.stop_at
        if self.suspended_at is not None:
            over_at = self.suspended_at + self.suspend_max_ms
        moments = [moment for moment in (over_at, self.kill_at) if moment is not None]
        return min(moments, default=None)

    def watch(self) -> None:
        """Until no process is left. What the agent left behind gets only the grace of a `stop`."""
        while True:
            self.reap()
            if self.exited and self.kill_at is None:
                self.kill("order")
            if self.alone:
                return
            next_at = self.next_at()
            self.poller.poll(None if next_at is None else max(0, next_at - now_ms()))
            self.drain_wake()
            self.obey()
            self.judge()

    def may_start(self) -> bool:
        """Waits while the lease has run out: the runner may have been frozen since it took the job.

        False when it was killed meanwhile; the runner hears of an agent that never ran.
        """
        self.obey()
        begun = now_ms()
        while not self.killed and self.stop_at is not None and now_ms() >= self.stop_at:
            self.poller.poll(max(0, begun + self.suspend_max_ms - now_ms()))
            self.drain_wake()
            self.obey()
            if now_ms() >= begun + self.suspend_max_ms:
                self.kill("lease")
        if self.killed:
            self.report_exit(None, None)
        return not self.killed

    def run(self) -> None:
        """The whole life of the guard."""
        if self.order.lease:
            self.take_lease(self.order.lease.split())
        try:
            if self.may_start() and self.spawn():
                self.watch()
        finally:
            self.kill("order")


def main() -> None:
    """Takes the order, then watches until nothing is left."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit("guard: the kernel refuses PR_SET_CHILD_SUBREAPER")
    Watchman(read_order()).run()
    os._exit(0)  # nothing is buffered, and taking the interpreter down costs milliseconds
