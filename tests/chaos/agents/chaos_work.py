"""What python jobs of the chaos runs call, in a worker process of a runner's pool."""

from __future__ import annotations

import os
import threading


def _parent(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(") ")[2].split()[1]


RUNNER = _parent(os.getppid())
"""The worker's parent is its guard, the guard's parent is the runner."""


def _tell(path: str, what: str) -> None:
    names = ("ORCH_JOB_ID", "ORCH_ATTEMPT", "ORCH_FENCE")
    with open("/proc/uptime") as uptime:
        now = uptime.read().split()[0]
    values = [*(os.environ[name] for name in names), what, str(os.getpid()), now, RUNNER]
    line = " ".join(values)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


def act(path: str, ms: int) -> dict[str, int]:
    """Tells that it began, takes its time, tells that it ends; its result names the claim it ran under."""
    _tell(path, "begin")
    threading.Event().wait(ms / 1000)
    _tell(path, "end")
    return {"fence": int(os.environ["ORCH_FENCE"])}
