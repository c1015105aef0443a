"""How does a forked child of the guard become the agent?

Standard library only, and little of it: the guard imports this, and its start is paid by every job.
"""

from __future__ import annotations

import ctypes
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would cost more than all else here
    from typing import NoReturn

PR_SET_PDEATHSIG = 1
ENOENT, EACCES, ENOEXEC, ENOTDIR = 2, 13, 8, 20
ERRORS = {
    ENOENT: "not_found",
    ENOTDIR: "not_found",
    EACCES: "not_executable",
    ENOEXEC: "not_executable",
}
IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Aimed at a group or a session, they are not for the guard."""
CHANGED_SIGNALS = (*IGNORED_SIGNALS, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)
"""What the guard or its interpreter changed and an agent must not inherit."""

prctl = ctypes.CDLL(None).prctl


class Order:
    """What to run, as the runner wrote it."""

    def __init__(self, data: bytes) -> None:
        fields = data.split(b"\0")[:-1]
        self.control_fd, self.status_fd, *streams = (int(field) for field in fields[:5])
        self.streams = streams
        self.kept_fds = [int(field) for field in fields[5].split()]
        self.lease = fields[6].decode()
        self.cwd = fields[7]
        argc = int(fields[8])
        self.argv = fields[9 : 9 + argc]
        pairs = (field.split(b"=", 1) for field in fields[9 + argc :])
        self.env = {pair[0]: pair[1] for pair in pairs}


def read_order() -> Order:
    """Reads fd 0 to its end."""
    with open(0, "rb", closefd=True) as file:
        order = Order(file.read())
    os.open(os.devnull, os.O_RDONLY)
    return order


def execute(argv: list[bytes], env: dict[bytes, bytes]) -> NoReturn:
    """Becomes `argv`, looked up in the PATH of `env` (not of this process).

    Raises:
        OSError: ENOENT when no folder has it, EACCES or ENOEXEC when it cannot be run.
    """
    if b"/" in argv[0]:
        os.execve(argv[0], argv, env)
    refusal = OSError(ENOENT, "not found")
    for folder in env.get(b"PATH", b"/usr/bin:/bin").split(b":"):
        try:
            os.execve(os.path.join(folder or b".", argv[0]), argv, env)
        except OSError as error:
            if error.errno not in (ENOENT, ENOTDIR, EACCES):
                raise
            if error.errno == EACCES:
                refusal = error
    raise refusal


def become_agent(order: Order, guard: int, error_fd: int) -> NoReturn:
    """The forked child's way into the agent; a fault goes to `error_fd` as `<stage> <errno>`."""
    stage = "spawn"
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died between fork and prctl: no death signal would come
            os._exit(127)
        for number in CHANGED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for target, source in enumerate(order.streams):
            os.dup2(source, target)
        stage = "cwd"
        if order.cwd:
            os.chdir(order.cwd)
        stage = "exec"
        execute(order.argv, order.env)
    except OSError as error:
        os.write(error_fd, f"{stage} {error.errno}".encode())
    finally:
        os._exit(127)


def error_word(stage: str, errno: int) -> str:
    """What the status line calls the fault of a child that did not become the agent."""
    return "bad_cwd" if stage == "cwd" else ERRORS.get(errno, "spawn_failed")
