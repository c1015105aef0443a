"""What jobs of the tests call in a worker process; imported by its path, not as a part of the tests."""

from __future__ import annotations

import os
import sys
import threading


def echo(value: object) -> object:
    """A small job."""
    return value


def slow_echo(value: object, ms: int) -> object:
    """A small job that takes a moment."""
    threading.Event().wait(ms / 1000)
    return value


def told_echo(value: object, path: str) -> object:
    """Leaves a line in a file each time it runs."""
    with open(path, "a") as file:
        file.write(f"{value}\n")
    threading.Event().wait(0.01)
    return value


async def async_echo(value: object) -> object:
    """The same for `isolation: inline`."""
    return value


def fail() -> None:
    """Raises."""
    message = "it broke"
    raise RuntimeError(message)


def block() -> None:
    """Never returns."""
    threading.Event().wait()


def exit_hard() -> None:
    """Ends the worker process below python."""
    os._exit(9)


def exit_soft() -> None:
    """Ends the worker as a script would."""
    sys.exit(3)


def environments() -> list[dict[str, str]]:
    """What this process was started with, and what the process above it was: its guard."""
    return [_environ("self"), _environ(str(os.getppid()))]


def _environ(pid: str) -> dict[str, str]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        fields = file.read().split(b"\0")[:-1]
    return dict(os.fsdecode(field).split("=", 1) for field in fields)
