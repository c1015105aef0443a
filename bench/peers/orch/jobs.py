"""The jobs that Orch runs in the comparison: in the runner (inline) or in its worker processes.

A worker process inherits nothing, so there the file of marks comes as an argument.
"""

from __future__ import annotations

import os
import struct
import time

import anyio

_RECORD = struct.Struct("<qqq")
_HELD = -2
_open: dict[str, int] = {}


def _mark(path: str, index: int = -1) -> None:
    path = path or os.environ["BENCH_MARKS"]
    file = _open.get(path)
    if file is None:
        file = _open[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, _RECORD.pack(time.monotonic_ns(), index, os.getpid()))


async def noop(marks: str = "") -> int:
    """Nothing but its mark, and a result."""
    _mark(marks)
    return 1


async def wait(marks: str = "") -> None:
    """Waits one millisecond."""
    _mark(marks)
    await anyio.sleep(0.001)


async def stamp(index: int, marks: str = "") -> int:
    """Says which one it is."""
    _mark(marks, index)
    return index


async def hold(marks: str = "") -> None:
    """Holds its worker until somebody kills it; the second attempt ends at once."""
    _mark(marks, _HELD)
    path = (marks or os.environ["BENCH_MARKS"]) + ".held"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    await anyio.sleep(600)
