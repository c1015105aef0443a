"""Which descriptors go to a guard and its agent, and which stay with the runner?

The order travels in a memory file (it may be larger than a pipe), stdin as well (nobody has to feed it),
so that the control pipe only ever sees lines shorter than PIPE_BUF.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orch.adapters.leases import Leases
from orch.adapters.sweep import GUARD_MARK

GUARD_BOOT: Final = (
    f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); "
    "from orch.adapters.guard import main; main()"
)
"""Imported, not run as a script: then its compiled form is cached, a third of its start. Our folder comes
last, and `site` is off, so that nothing installed can stand in the way of the standard library."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A started guard and the runner's ends of its pipes, all of them non-blocking."""

    guard: subprocess.Popen[bytes]
    control_fd: int
    status_fd: int
    stdout: int
    stderr: int


def _pipe(reads: ExitStack, writes: ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    reads.callback(os.close, read)
    writes.callback(os.close, write)
    return read, write


def _memory(stack: ExitStack, name: str, data: bytes) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    stack.callback(os.close, fd)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _stdin(stack: ExitStack, data: bytes | None) -> int:
    if data is not None:
        return _memory(stack, "stdin", data)
    fd = os.open(os.devnull, os.O_RDONLY)
    stack.callback(os.close, fd)
    return fd


def _order(
    head: Sequence[object], cwd: str | None, argv: Sequence[str], env: Mapping[str, str]
) -> bytes:
    pairs = [f"{key}={value}" for key, value in env.items()]
    fields = [*map(str, head), cwd or "", str(len(argv)), *argv, *pairs]
    # surrogates come from file names; a lone one that names no byte can only be replaced
    return b"".join(field.encode("utf-8", "surrogateescape") + b"\0" for field in fields)


def _popen(order_fd: int, passed: Sequence[int]) -> subprocess.Popen[bytes]:
    kept = {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}
    kept[GUARD_MARK] = str(os.getpid())
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-E", "-c", GUARD_BOOT],
        stdin=order_fd,
        stdout=subprocess.DEVNULL,
        pass_fds=passed,
        start_new_session=True,
        env=kept,
    )


def launch(
    argv: Sequence[str],
    *,
    cwd: str | None,
    env: Mapping[str, str],
    stdin: bytes | None,
    leases: Leases,
    kept_fds: Sequence[int],
) -> Launched:
    """Starts a guard with its order; its control pipe is enlisted with `leases`.

    Raises:
        Refused: LEASE_OVER, the runner was condemned.
        OSError: the host has no descriptor, memory or process left; nothing stays open.
    """
    with ExitStack() as theirs, ExitStack() as ours:
        control_read, control_write = _pipe(theirs, ours)
        status_read, status_write = _pipe(ours, theirs)
        stdout_read, stdout_write = _pipe(ours, theirs)
        stderr_read, stderr_write = _pipe(ours, theirs)
        for fd in (control_write, status_read, stdout_read, stderr_read):
            os.set_blocking(fd, False)
        terms = leases.enlist(control_write)
        ours.callback(leases.dismiss, control_write)
        streams = (_stdin(theirs, stdin), stdout_write, stderr_write)
        head = (control_read, status_write, *streams, " ".join(map(str, kept_fds)), terms)
        order_fd = _memory(theirs, "order", _order(head, cwd, argv, env))
        lifeline = () if leases.lifeline_fd is None else (leases.lifeline_fd,)
        guard = _popen(order_fd, (control_read, status_write, *streams, *kept_fds, *lifeline))
        ours.pop_all()
    return Launched(guard, control_write, status_read, stdout_read, stderr_read)
