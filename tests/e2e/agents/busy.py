"""What jobs of the tests call with `isolation: inline`: code that keeps its runner's main thread busy."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time

_POLLIN = 1


def _where() -> list[object]:
    return [os.getpid(), threading.current_thread() is threading.main_thread()]


async def compute(ms: int) -> list[object]:
    """Pure Python that never awaits: its interpreter makes it let other threads in, every 5 ms."""
    until = time.monotonic() + ms / 1_000
    while time.monotonic() < until:
        pass
    return _where()


async def hold_in_turns(times: int, hold_ms: int, compute_ms: int) -> list[object]:
    """Calls of C that let no other thread in, as an extension makes them, with pure Python after each."""
    libc = ctypes.PyDLL(None)
    for _ in range(times):
        libc.poll(None, 0, hold_ms)
        await compute(compute_ms)
    return _where()


async def hold_until_told(fifo: str) -> list[object]:
    """One call of C that lets no other thread in until somebody writes to `fifo`."""
    told = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        ctypes.PyDLL(None).poll(struct.pack("ihh", told, _POLLIN, 0), 1, -1)
        return _where()
    finally:
        os.close(told)
