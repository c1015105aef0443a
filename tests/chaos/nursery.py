"""How do a thousand actors start in a quarter of an hour on two cores?

A program that has imported everything an actor may need, and forks. The child gets a session, an environment,
a folder and descriptors of its own and then runs the module `actors` as `python -m actors` does; only the
half second of imports is saved. The nursery reaps its children and tells how they ended. When whoever
started it goes away, it kills them and ends.

Orders come as JSON packets on a socket, each with the child's descriptors:
    {"number", "argv", "env", "cwd", "log", "ready", "lifeline"}, the last two true when a descriptor is sent
Answers: {"number", "pid"} and {"pid", "status"}.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NoReturn

from actors.start import ROLES

PACKET_BYTES_MAX: Final = 65_536
_WANTED: Final = ("uvloop", "anyio._backends._asyncio", "orch.telemetry.serve", "actors.body")


def _import_all() -> None:
    for name in (*_WANTED, *(f"actors.{role}.main" for role in ROLES)):
        import_module(name)
    gc.collect()
    gc.freeze()  # otherwise the first collection of every child would copy all of this


class Nursery:
    """Forks, reaps, tells."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.living: set[int] = set()
        self.wake, wake_write = os.pipe()
        for fd in (self.wake, wake_write):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def serve(self) -> list[str] | None:
        """Returns in a child, with its words; in the nursery itself when nobody wants more children."""
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        poller.register(self.wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if self.wake in ready:
                self._reap()
            if self.control.fileno() in ready:
                packet, fds, _, _ = socket.recv_fds(self.control, PACKET_BYTES_MAX, 2)
                if not packet:
                    self._end()
                    return None
                order = json.loads(packet)
                if self._is_child(order, fds):
                    return _become(order, fds)

    def _is_child(self, order: dict[str, Any], fds: list[int]) -> bool:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.control.close()
            os.close(self.wake)
            return True
        for fd in fds:
            os.close(fd)
        self.living.add(pid)
        self._tell({"number": order["number"], "pid": pid})
        return False

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self.wake, 4096):
                pass
        while self.living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.living.discard(pid)
            self._tell({"pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def _tell(self, document: dict[str, int]) -> None:
        with suppress(OSError):
            self.control.send(json.dumps(document).encode())

    def _end(self) -> None:
        for pid in self.living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _become(order: dict[str, Any], fds: list[int]) -> list[str]:
    os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)
    words = [*order["argv"], "--parent", str(os.getppid())]
    for flag in ("ready", "lifeline"):
        if order[flag]:
            fd = fds.pop(0)
            os.set_inheritable(fd, True)
            words += [f"--{flag}-fd", str(fd)]
    return words


def main() -> NoReturn:
    """The nursery's life, and in its children an actor's."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    control.send(b"{}")
    words = Nursery(control).serve()
    if words is None:
        sys.exit(0)
    sys.argv = ["actors", *words]
    runpy.run_module("actors", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
